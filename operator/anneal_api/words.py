"""Words of sets that grow: one release reads what a newer one has written."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


class OpenWord(StrEnum):
    """A set of words to which later releases add.

    A word that this release does not know is a member all the same, equal to its text and to nothing else, so that it
    is read, kept and written back as it is. It is not among the members that iterating gives.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not value:
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word

    @property
    def is_known(self) -> bool:
        """Whether this release knows the word."""
        return self.name in type(self).__members__

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        # A CRD of an older release must not refuse what a newer operator says.
        return {"type": "string", "maxLength": 256}
