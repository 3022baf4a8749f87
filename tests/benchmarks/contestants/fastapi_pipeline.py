"""A served classifier as the tutorials write it: FastAPI and `transformers.pipeline`.

python -m tests.benchmarks.contestants.fastapi_pipeline MODEL PORT
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

classifier = pipeline("text-classification", model=sys.argv[1], top_k=None)
app = FastAPI()


class Question(BaseModel):
    text: str


@app.post("/predict")
def predict(question: Question) -> list[dict[str, str | float]]:
    return classifier(question.text)[0]  # type: ignore[return-value]  # with top_k: a list of lists


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
