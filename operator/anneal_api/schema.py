"""The base class of every model in the contract, and the scalar types that they share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

_DURATION = re.compile(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$")
_LABEL_KEY = re.compile(
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
_LONGEST_AMOUNT = 32
_BYTES_PER_SUFFIX = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "Ki": 2.0**10,
    "M": 1e6,
    "Mi": 2.0**20,
    "G": 1e9,
    "Gi": 2.0**30,
    "T": 1e12,
    "Ti": 2.0**40,
    "P": 1e15,
    "Pi": 2.0**50,
}


class ApiModel(BaseModel):
    """A part of the contract: camelCase outside, snake_case inside, frozen, no unknown fields.

    The docstring below a field is its description in the CRD (`kubectl explain`).
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=False,
        serialize_by_alias=True,
        ser_json_inf_nan="null",
    )


def parse_duration(text: str) -> float:
    """Returns the seconds in a duration such as `5m`, `1h30m` or `0.5s`.

    Raises:
        ValueError: The text is not a duration.
    """
    if not _DURATION.match(text):
        raise ValueError("write a duration as a number and a unit, for example 30s, 5m or 12h")
    return sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in _DURATION_PART.findall(text))


def parse_quantity(text: str) -> float:
    """Returns the number that a Kubernetes quantity such as `16Gi` or `500m` stands for.

    Raises:
        ValueError: The text is not a quantity.
    """
    if not _QUANTITY.match(text):
        raise ValueError("write a quantity as Kubernetes does, for example 500m, 2 or 16Gi")
    number = re.match(r"[0-9.]+", text)
    assert number is not None
    return float(number.group()) * _BYTES_PER_SUFFIX[text[number.end() :]]


def _checked_duration(text: str) -> str:
    parse_duration(text)
    return text


def _number_as_text(value: object) -> object:
    # `cpu: 2` is as good as `cpu: "2"`, in strict mode too, where coerce_numbers_to_str is not obeyed. A fraction
    # has to be text, because the API server takes no other (x-kubernetes-int-or-string).
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked_quantity(text: str) -> str:
    parse_quantity(text)
    return text


def _checked_label_key(text: str) -> str:
    if not _LABEL_KEY.match(text):
        raise ValueError("write a label's key as Kubernetes does, for example disk or example.com/gpu-model")
    return text


def _checked_label_value(text: str) -> str:
    if not _LABEL_VALUE.match(text):
        raise ValueError(
            "use letters, digits, dashes, dots and underscores; begin and end with a letter or digit"
        )
    return text


Duration = Annotated[
    str,
    AfterValidator(_checked_duration),
    Field(max_length=_LONGEST_AMOUNT),
    WithJsonSchema({"type": "string", "maxLength": _LONGEST_AMOUNT, "pattern": _DURATION.pattern}),
]
"""A length of time, written as Kubernetes and Go do: `30s`, `5m`, `1h30m`."""

Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    AfterValidator(_checked_quantity),
    Field(max_length=_LONGEST_AMOUNT),
    WithJsonSchema(
        {"type": "string", "format": "quantity", "maxLength": _LONGEST_AMOUNT, "pattern": _QUANTITY.pattern}
    ),
]
"""An amount, written as Kubernetes does: `500m`, `2`, `16Gi`."""

LabelKey = Annotated[str, AfterValidator(_checked_label_key), Field(min_length=1, max_length=317)]
"""Key of a Kubernetes label or taint: a name, or `PREFIX/NAME` with a DNS domain before it."""

LabelValue = Annotated[
    str,
    AfterValidator(_checked_label_value),
    Field(max_length=63),
    WithJsonSchema({"type": "string", "maxLength": 63, "pattern": _LABEL_VALUE.pattern}),
]
"""Value of a Kubernetes label or taint; may be empty."""

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A point in time, RFC 3339 in UTC."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A name inside a manifest: lower-case letters, digits and dashes (RFC 1123 label)."""

ShortText = Annotated[str, Field(min_length=1, max_length=253)]
"""A short, non-empty text: a column, a label, a revision."""

Uri = Annotated[str, Field(min_length=1, max_length=2048)]
"""Where something lies: a path, or one of `file://ABSOLUTE`, `pkg://PACKAGE/PATH`, `hf://NAME[/CONFIG]`,
`pvc://CLAIM/PATH`, `configmap://NAME/FILE`, `s3://BUCKET/KEY`, `gs://BUCKET/KEY`."""
