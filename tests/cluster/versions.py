"""The versions that the tests' clusters are made of."""

from __future__ import annotations

KUBERNETES = "v1.34.3"
ETCD = "v3.6.5"
KIND = "v0.33.0"
KUBERAY = "v1.6.1"
COREDNS = "v1.12.1"
LOCAL_PATH_PROVISIONER = "v0.0.30"
HELM = "v3.22.0"
KUBECONFORM = "v0.8.0"
KUEUE = "v0.18.2"
MINIO = "v0.0.0-20260212201848-7aac2a2c5b7c"

# The Debian release that images are built on where none can be pulled.
DEBIAN = "bookworm"
