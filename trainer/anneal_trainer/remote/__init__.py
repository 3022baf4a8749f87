"""Keeps a job's results in a bucket: what its pods share where they share no disk."""
