"""What has to be known of a base model before it is trained. Pure."""

from __future__ import annotations

from pydantic import BaseModel

TRAITS_FILE = "traits.json"
"""Where the preflight stage keeps them."""


class Traits(BaseModel):
    """What a base model can do, and what becomes of its head.

    Attributes:
        tried: Whether it could be tried; too large a model of which no small one can be made is not.
        pads: Whether a row's logits are the same in a padded batch as alone. Where they are not, only rows of the same
            length are computed together.
        reads_last_token: Whether it answers by the last token of a text, as decoders do.
        longest: Tokens that it reads, where `maxLength` is more than that.
        new_head: Whether it has a head that answers other labels, whose last layer starts anew.
    """

    tried: bool = True
    pads: bool = True
    reads_last_token: bool = False
    longest: int | None = None
    new_head: bool = False

    def shaping(self) -> dict[str, bool]:
        """Returns those that decide what is learned, where they are not the usual ones."""
        return self.model_dump(include={"pads", "reads_last_token", "new_head"}, exclude_defaults=True)
