"""The API's description (OpenAPI 3.1). It is written by hand, as the bodies are parsed by hand."""

from __future__ import annotations

from typing import Any

from anneal_serving.model_info import ModelInfo
from anneal_serving.requests import Limits

_MODEL_TAG = "Model"
_SERVER_TAG = "Server"
_TEXTS = ("A gripping film that one wants to see again.", "It never finds its feet.")


def openapi_document(info: ModelInfo, limits: Limits) -> dict[str, Any]:
    """Returns the description of a model's server.

    Args:
        info: Gives labels and examples.
        limits: Give the bounds of requests.
    """
    first, second = (*info.examples, *_TEXTS)[:2]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": info.version.split("/", maxsplit=1)[0],
            "version": info.version.rsplit("/", maxsplit=1)[-1],
            "description": (
                f"Answers texts with one of the labels {', '.join(f'`{label}`' for label in info.labels)}. "
                "Every response names the model in the header `X-Model-Version`."
            ),
        },
        "paths": {
            "/predict": {"post": _predict_operation(info, limits, first, second)},
            "/model": {"get": _get(_MODEL_TAG, "Describe the model", "Model", "What the model is.")},
            "/health/live": {"get": _get(_SERVER_TAG, "Is the process alive?", "Status", "It is.")},
            "/health/ready": {"get": _get(_SERVER_TAG, "Can the model answer?", "Status", "It can.")},
            "/metrics": {
                "get": {
                    "tags": [_SERVER_TAG],
                    "summary": "Metrics of this process for Prometheus",
                    "responses": {
                        "200": {
                            "description": "Counts and latencies.",
                            "headers": _VERSION_HEADER,
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        }
                    },
                }
            },
        },
        "components": {"schemas": _schemas(info, limits)},
    }


_VERSION_HEADER = {
    "X-Model-Version": {
        "description": "Job and version of the model that answered.",
        "schema": {"type": "string"},
    }
}

_REFUSALS = {
    "400": "The body is not UTF-8 or not JSON.",
    "408": "The body did not come in time.",
    "413": "The body, the number of texts or the number of tokens is over the limit.",
    "415": "The body is compressed.",
    "422": "The JSON is not as described: wrong types, unknown fields, empty or over-long texts.",
    "503": "The server has more requests than it can answer soon; `Retry-After` says when to try again.",
}


def _predict_operation(info: ModelInfo, limits: Limits, first: str, second: str) -> dict[str, Any]:
    one = _example_answer(info.labels)
    return {
        "tags": [_MODEL_TAG],
        "summary": "Answer one text or several",
        "description": (
            f"Texts longer than {info.max_length} tokens are cut at the end. One request may have "
            f"{limits.max_items} texts, {limits.max_tokens} tokens and {limits.max_body_bytes} bytes."
        ),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [_ref("OneText"), _ref("SeveralTexts")]},
                    "examples": {
                        "one": {"summary": "One text", "value": {"text": first}},
                        "several": {"summary": "Several texts", "value": {"inputs": [first, second]}},
                    },
                }
            },
        },
        "responses": {
            "200": {
                "description": "The answer: one object for `text`, a list for `inputs`.",
                "headers": _VERSION_HEADER,
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [_ref("Classification"), _ref("Predictions")]},
                        "examples": {
                            "one": {"summary": "One text", "value": one},
                            "several": {"summary": "Several texts", "value": {"predictions": [one, one]}},
                        },
                    }
                },
            },
            **{
                status: {
                    "description": text,
                    "headers": _VERSION_HEADER,
                    "content": {"application/json": {"schema": _ref("Error")}},
                }
                for status, text in _REFUSALS.items()
            },
        },
    }


def _example_answer(labels: tuple[str, ...]) -> dict[str, Any]:
    rest = round(0.1 / max(1, len(labels) - 1), 4)
    scores = [{"label": label, "score": rest if index else 0.9} for index, label in enumerate(labels)]
    return {**scores[0], "scores": scores}


def _schemas(info: ModelInfo, limits: Limits) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1, "maxLength": limits.max_characters, "pattern": r"\S"}
    score = {"type": "number", "minimum": 0, "maximum": 1}
    label = {"type": "string", "enum": list(info.labels)}
    texts = {"type": "array", "items": {"type": "string"}}
    return {
        "OneText": _object({"text": text}),
        "SeveralTexts": _object(
            {
                "inputs": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": limits.max_items,
                    "items": {"oneOf": [text, _ref("OneText")]},
                }
            }
        ),
        "Classification": _object(
            {
                "label": {**label, "description": "The most probable label."},
                "score": {**score, "description": "Its probability."},
                "scores": {
                    "type": "array",
                    "description": "Every label's probability, highest first.",
                    "items": _object({"label": label, "score": score}),
                },
            }
        ),
        "Predictions": _object(
            {
                "predictions": {
                    "type": "array",
                    "description": "One answer a text, in the order of the texts.",
                    "items": _ref("Classification"),
                }
            }
        ),
        "Error": _object(
            {
                "error": _object(
                    {
                        "code": {"type": "string", "description": "A word for programs."},
                        "message": {"type": "string", "description": "What is wrong."},
                        "where": {"type": "string", "description": "The place in the request; may be empty."},
                        "remedy": {"type": "string", "description": "What to do about it; may be empty."},
                    }
                )
            }
        ),
        "Status": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "string"},
                "version": {"type": "string", "description": "Job and version that answers."},
                "wanted": {
                    "type": "object",
                    "description": "The version that is to take over, until it has.",
                    "required": ["version", "state", "reason"],
                    "properties": {
                        "version": {
                            "type": ["integer", "null"],
                            "description": "Its number, where it is known.",
                        },
                        "state": {"type": "string", "enum": ["loading", "failed"]},
                        "reason": {"type": "string", "description": "Why it failed."},
                    },
                },
            },
        },
        "Model": _object(
            {
                "version": {"type": "string", "description": "Job and version."},
                "task": {"type": "string"},
                "labels": texts,
                "variant": {"type": "string", "description": "`fp32`, `int8`..."},
                "baseModel": {"type": "string", "description": "What it was tuned from."},
                "createdAt": {"type": "string", "description": "When it was published, ISO 8601."},
                "metrics": {
                    "type": "object",
                    "description": "Scores on the test rows.",
                    "additionalProperties": {"type": "number"},
                },
                "maxLength": {
                    "type": "integer",
                    "description": "Longest input in tokens; longer ones are cut.",
                },
                "examples": {**texts, "description": "Held-out texts to try it on."},
            }
        ),
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _get(tag: str, summary: str, schema: str, description: str) -> dict[str, Any]:
    return {
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": {
                "description": description,
                "headers": _VERSION_HEADER,
                "content": {"application/json": {"schema": _ref(schema)}},
            }
        },
    }
