"""Serves a published model until standard input closes; says where it answers on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray

from anneal_api.errors import AnnealError
from anneal_api.spec.serving import Serving
from anneal_serving.deployment import serve_artifact

if __name__ == "__main__":
    serving = Serving.model_validate({"cpu": 2, "maxBatchTokens": 2000})
    try:
        with serve_artifact(Path(sys.argv[1]), port=int(sys.argv[2]), serving=serving) as running:
            export_port = ray.nodes()[0]["MetricsExportPort"]
            print(
                json.dumps({"url": running.url, "rayMetrics": f"http://127.0.0.1:{export_port}/metrics"}),
                flush=True,
            )
            sys.stdin.read()
    except AnnealError as error:
        sys.exit(f"{type(error).__name__}: {error}")
