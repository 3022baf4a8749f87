"""Who takes part: what anneal does, and how it is usually done. Each is a program of its own."""
