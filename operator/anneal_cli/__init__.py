"""The command line of anneal. PyTorch, Ray and the like are imported where they are used."""
