"""The parts of a FineTuneJob's spec, one module a part."""
