"""A status as the API server keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anneal_api.status import FineTuneJobStatus


def document_of(status: FineTuneJobStatus) -> Mapping[str, Any]:
    """Returns a status without nulls, which the API server drops."""
    document = json.loads(status.model_dump_json(exclude_none=True))
    assert isinstance(document, dict)
    return {key: _without_nulls(value) for key, value in document.items()}


def _without_nulls(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
