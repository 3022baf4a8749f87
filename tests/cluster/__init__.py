"""Real clusters for the tests: a bare API server in seconds, and kind with KubeRay from package registries alone."""
