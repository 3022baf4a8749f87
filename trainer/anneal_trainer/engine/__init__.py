"""The training loop and what it stands on: batches, optimizer, precision, checkpoints, and its place in Ray Train."""
