"""A served classifier by hand: FastAPI, `tokenizers` and ONNX Runtime, as somebody who knows them writes it.

    python -m tests.benchmarks.contestants.fastapi_onnxruntime MODEL PORT

MODEL holds `model.onnx`, `tokenizer.json` and `config.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

folder = Path(sys.argv[1])
labels = list(json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"].values())
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(512)
session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
names = {value.name for value in session.get_inputs()}
app = FastAPI()


class Question(BaseModel):
    text: str


@app.post("/predict")
def predict(question: Question) -> list[dict[str, str | float]]:
    encoding = tokenizer.encode(question.text)
    inputs = {
        "input_ids": np.array([encoding.ids], dtype=np.int64),
        "attention_mask": np.array([encoding.attention_mask], dtype=np.int64),
        "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
    }
    logits = session.run(None, {name: inputs[name] for name in names})[0][0]
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    return [{"label": labels[place], "score": float(scores[place])} for place in np.argsort(-scores)]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
