"""The least that FastAPI and uvicorn can do: a yardstick for HTTP on this machine.

python -m tests.benchmarks.contestants.no_op PORT
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Question(BaseModel):
    text: str


@app.post("/predict")
async def predict(question: Question) -> dict[str, int]:
    return {"characters": len(question.text)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
