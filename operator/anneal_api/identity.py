"""What a FineTuneJob is called by Kubernetes. Apart from its models, which whoever only asks for one need not load."""

from __future__ import annotations

GROUP = "anneal.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FineTuneJob"
