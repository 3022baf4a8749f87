"""A cache of the hub that cannot be written is no missing model."""

from __future__ import annotations

import errno
import os

import pytest

from anneal_api.errors import Reason, ResourceUnavailable
from anneal_trainer import hub_model


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EROFS, Reason.RESOURCE_UNAVAILABLE),
        (errno.EACCES, Reason.RESOURCE_UNAVAILABLE),
        (errno.ENOTDIR, Reason.RESOURCE_UNAVAILABLE),
        (errno.ENOSPC, Reason.DISK_FULL),
    ],
)
def test_it_is_named(monkeypatch, number, reason):
    def refused(*_arguments, **_options):
        raise OSError(number, os.strerror(number), "/cache/hub")

    monkeypatch.setattr(hub_model, "snapshot_download", refused)
    with pytest.raises(ResourceUnavailable) as caught:
        hub_model.download("lab/encoder", "main", patterns=["config.json"])
    assert caught.value.where == "HF_HOME: /cache/hub"
    assert caught.value.reason is reason
