"""A run that reuses every stage is ready in seconds, because it loads nothing that trains."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ["torch", "ray", "transformers", "sklearn", "pandas", "datasets"]


def test_the_pipeline_loads_no_heavy_library_before_a_stage_needs_it():
    code = f"import anneal_trainer.pipeline, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
