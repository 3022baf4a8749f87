"""One answer on the command line with `transformers.pipeline`.

python -m tests.benchmarks.contestants.pipeline_predict MODEL TEXT
"""

from __future__ import annotations

import sys

from transformers import pipeline

print(pipeline("text-classification", model=sys.argv[1], top_k=None)(sys.argv[2]))
