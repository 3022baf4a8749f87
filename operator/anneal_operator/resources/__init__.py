"""Builders of the Kubernetes objects that a job is made of. Pure."""
