"""Our server without Ray: the same ASGI app under uvicorn, what one replica costs.

python -m tests.benchmarks.contestants.anneal_uvicorn MODEL PORT THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from anneal_serving.app import build_app
from anneal_serving.artifact import Artifact, latest_version
from anneal_serving.model_info import ModelInfo


def main() -> None:
    """Serves a published model until it is stopped."""
    folder, port, threads = sys.argv[1:]
    artifact = Artifact.open(latest_version(Path(folder)))
    with artifact.predictor(threads=int(threads)) as predictor:
        app = build_app(predictor, ModelInfo.of(artifact))
        uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
