"""What the family of a base model can do, tried on a narrow copy of it before anything costs time."""
