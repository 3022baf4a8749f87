"""How places are written in a manifest: `pvc://CLAIM/PATH`, `configmap://NAME/FILE`, `hf://NAME`, a path, a hub id."""

from __future__ import annotations

import re

from anneal_api.errors import UnplacedError

HUB_ID = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)?$"
"""A model of the hub, as a regular expression that Python and CEL read alike: `NAME` or `OWNER/NAME`."""

CLAIM_PLACE = r"^(?i:pvc)://[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?(/|$)"
"""The begin of a place on a PersistentVolumeClaim, as a regular expression that Python and CEL read alike."""

CONFIG_MAP_FILE = (
    r"^(?i:configmap)://[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"  # the name of an object
    r"/[.]?[-_A-Za-z0-9][-._A-Za-z0-9]{0,251}$"  # a key, which is never two dots or begins with them
)
"""A file in a ConfigMap, as a regular expression that Python and CEL read alike."""

BUCKET_PLACE = r"^(?i:s3)://[a-z0-9][-a-z0-9.]{1,61}[a-z0-9](/|$)"
"""The begin of a place in an S3 bucket, as a regular expression that Python and CEL read alike."""

CLIMBS = r"(^|/)\.\.(/|$)"
"""A path that leads upwards, as a regular expression that Python and CEL read alike."""

WALKS = r"(^|/)\.\.?(/|$)"
"""A path with `.` or `..`, as a regular expression that Python and CEL read alike: in a bucket they are names."""


def scheme_of(uri: str) -> str:
    """Returns the scheme of a place in lower case: `pvc` of `pvc://claim/path`. A path or hub id has none."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    return match.group(1).lower() if match else ""


def is_hub_id(source: str) -> bool:
    """Returns whether a model's source can be one of the hub: `NAME` or `OWNER/NAME`."""
    return re.search(HUB_ID, source) is not None


class LocationError(UnplacedError):
    """A place does not lead anywhere."""
