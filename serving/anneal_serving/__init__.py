"""Answers requests with a published model: the artifact, the Predictor and the server."""
