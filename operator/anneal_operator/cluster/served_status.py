"""What of a job's status the CRD in the cluster takes: it may be of an older release than the operator.

The API server refuses a whole status for one field or word that its schema does not know. Several releases may share
one CRD, and a roll-back may bring back an old one, so the operator writes what fits, and says what does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anneal_api.crd_schema import structural
from anneal_api.status import FineTuneJobStatus

Schema = Mapping[str, Any]

_UNFIT = object()


class ServedStatus:
    """The schema of the status that the API server goes by; before it is known, everything fits."""

    def __init__(self) -> None:
        self._schema: Schema | None = None

    def take(self, schema: Schema | None) -> tuple[str, ...]:
        """Takes note of the schema, and returns the fields of this release that it lacks.

        Args:
            schema: OpenAPI schema of `status`; None where the server does not say.
        """
        if schema is None:
            return ()
        self._schema = schema
        return tuple(_lacking(structural(FineTuneJobStatus, defaults=False), schema, "status"))

    def fitted(self, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns a status without what the schema does not take."""
        if self._schema is None:
            return status
        fit = _fitted(status, self._schema)
        return fit if isinstance(fit, dict) else {}


def _fitted(value: Any, schema: Schema) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, Mapping):
        return _fitted_object(value, schema)
    if isinstance(value, list):
        items = [_fitted(item, schema.get("items", {})) for item in value]
        return [item for item in items if item is not _UNFIT]
    return _UNFIT if "enum" in schema and value not in schema["enum"] else value


def _fitted_object(value: Mapping[str, Any], schema: Schema) -> Any:  # noqa: ANN401  # an object, or that there is none
    properties = schema.get("properties")
    if properties is None:
        return dict(value)  # a map, or free of any schema
    items = {name: _fitted(item, properties[name]) for name, item in value.items() if name in properties}
    fit = {name: item for name, item in items.items() if item is not _UNFIT}
    return fit if fit.keys() >= set(schema.get("required", ())) else _UNFIT


def _lacking(own: Schema, served: Schema, place: str) -> Iterator[str]:
    known = served.get("properties")
    for name, property_ in own.get("properties", {}).items():
        if known is not None and name not in known:
            yield f"{place}.{name}"
        elif known is not None:
            yield from _lacking(property_, known[name], f"{place}.{name}")
    if "items" in own and "items" in served:
        yield from _lacking(own["items"], served["items"], f"{place}[]")
