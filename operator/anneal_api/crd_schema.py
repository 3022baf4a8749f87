"""Turns a pydantic model into the structural OpenAPI v3 schema that a CustomResourceDefinition needs.

Structural means: every place has exactly one type, nothing is said by reference, and no choice between schemas
decides what a field is. What pydantic's JSON schema says in those ways is said here without them.

An optional field is one that may be left out; `null` is no value of it. Only a score may be null, for NaN.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_UNDEFAULTED = frozenset({"Split"})
"""Parts that must not appear where the manifest leaves them out, because that they are there says something."""

_COPIED = (
    "description",
    "type",
    "format",
    "nullable",
    "enum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_INT32 = 2**31 - 1


def structural(model: type[BaseModel], *, defaults: bool) -> Schema:
    """Returns the structural schema of a model.

    Args:
        model: The model. Descriptions are those of its fields.
        defaults: Write out the defaults, so that the API server fills them in: a job keeps those that it was made
            with. A part that is always there and has defaults inside gets `{}`, so that those inside it apply.
    """
    document = model.model_json_schema(by_alias=True)
    return _Converter(document.get("$defs", {}), defaults=defaults).convert(document)


class _Converter:
    def __init__(self, definitions: dict[str, Schema], *, defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def convert(self, source: Schema) -> Schema:
        _, source = self._resolved(source)
        schema = {key: source[key] for key in _COPIED if key in source}
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
        if source.get("type") in {"integer", "number"}:
            schema |= _bounds(source)
        if source.get("type") == "integer":
            schema["format"] = "int32" if abs(source.get("maximum", _INT32 + 1)) <= _INT32 else "int64"
        if source.get("format") == "quantity":
            schema["x-kubernetes-int-or-string"] = True
            del schema["type"], schema["format"]
        if self._defaults and source.get("default") not in (None, "", [], {}):
            schema["default"] = source["default"]
        if source.get("type") == "object":
            schema |= self._object(source)
        if source.get("type") == "array":
            schema["items"] = self.convert(source["items"])
        schema |= {key: value for key, value in source.items() if key.startswith("x-kubernetes-")}
        return schema

    def _object(self, source: Schema) -> Schema:
        if "properties" not in source:
            values = source.get("additionalProperties", True)
            if isinstance(values, dict):
                return {"additionalProperties": self.convert(values)}
            return {"x-kubernetes-preserve-unknown-fields": True}
        required = source.get("required", [])
        properties: dict[str, Schema] = {}
        for name, property_ in source["properties"].items():
            converted = self.convert(property_)
            part, _ = self._resolved(property_)
            # An optional part has a default in pydantic's schema, null; one that is always there has none.
            is_there = name not in required and "default" not in property_
            if self._defaults and is_there and part not in _UNDEFAULTED and _has_defaults_inside(converted):
                converted["default"] = {}
            properties[name] = converted
        return {"properties": properties, **({"required": required} if required else {})}

    def _resolved(self, source: Schema) -> tuple[str, Schema]:
        """Returns the name of the model that a place refers to, if any, and all that is said about the place."""
        choices = [choice for choice in source.get("anyOf", ()) if choice.get("type") != "null"]
        if choices:
            (choice,) = choices
            source = {**choice, **{key: value for key, value in source.items() if key != "anyOf"}}
        if "$ref" not in source:
            return "", source
        name = source["$ref"].rpartition("/")[2]
        own = {key: value for key, value in source.items() if key != "$ref"}
        return name, {**self._definitions[name], **own}


def _bounds(source: Schema) -> Schema:
    """Writes limits as OpenAPI 3.0 does, where that a limit is exclusive is a flag."""
    bounds: Schema = {}
    for limit in ("minimum", "maximum"):
        exclusive = f"exclusive{limit.capitalize()}"
        if exclusive in source:
            bounds |= {limit: source[exclusive], exclusive: True}
        elif limit in source:
            bounds[limit] = source[limit]
    return bounds


def _has_defaults_inside(schema: Schema) -> bool:
    return any("default" in property_ for property_ in schema.get("properties", {}).values())
