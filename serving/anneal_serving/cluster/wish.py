"""Which version a replica shall serve: the `user_config` of its deployment."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anneal_api.errors import ArtifactInvalid, Problem


class Wish(BaseModel):
    """The version that a replica shall serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version_folder: str = Field(min_length=1)
    """The version's folder, as the replica sees it, or its place in a bucket, `s3://BUCKET/KEY`."""
    version: int = Field(ge=1)
    """Its number, which its manifest must confirm."""
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of its `manifest.json`."""
    max_batch_tokens: int | None = Field(default=None, ge=8)
    """Most tokens of one request; absent: as the application was built. Here it changes without a restart."""
    threads: int | None = Field(default=None, ge=1, le=256)
    """Rows that are computed at the same time; absent: the CPUs that the application was built with."""

    @classmethod
    def of(cls, user_config: Any) -> Self:  # noqa: ANN401  # whatever a person wrote there
        """Returns the wish in a deployment's `user_config`.

        Raises:
            ArtifactInvalid: It names no version.
        """
        try:
            return cls.model_validate(user_config)
        except ValidationError as error:
            raise ArtifactInvalid(
                "The deployment's user_config does not say which version to serve.",
                where="user_config",
                remedy="Give it version_folder, version and digest (the SHA-256 of manifest.json).",
                problems=[
                    Problem(f"{fault['msg']}.", ".".join(map(str, fault["loc"])))
                    for fault in error.errors(include_url=False, include_input=False)
                ],
            ) from error
