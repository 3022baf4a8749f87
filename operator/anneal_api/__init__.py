"""The contract of anneal: the FineTuneJob, the published model, the report. Pure: pydantic and the standard library."""
