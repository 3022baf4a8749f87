"""How the operator talks to the API server: client, cache, work queue, lease."""
