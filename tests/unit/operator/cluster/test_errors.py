"""Every answer of the API server becomes one error of the tree."""

from __future__ import annotations

from typing import Any

import pytest

from anneal_operator.cluster import errors
from anneal_operator.cluster.errors import ApiError, error_of


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (404, {"reason": "NotFound"}, errors.NotFound),
        (409, {"reason": "AlreadyExists"}, errors.AlreadyExists),
        (409, {"reason": "Conflict"}, errors.Conflict),
        (400, {"message": 'admission webhook "x" denied the request'}, errors.Invalid),
        (413, {}, errors.Invalid),
        (422, {"reason": "Invalid"}, errors.Invalid),
        (401, {"reason": "Unauthorized"}, errors.Unauthorized),
        (403, {"reason": "Forbidden", "message": "no right"}, errors.Forbidden),
        (403, {"message": 'jobs.batch "a" is forbidden: exceeded quota: q'}, errors.QuotaExceeded),
        (403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, errors.NamespaceTerminating),
        (410, {"reason": "Expired"}, errors.Expired),
        (429, {}, errors.TooManyRequests),
        (500, {}, errors.Unavailable),
        (503, {}, errors.Unavailable),
        (504, {}, errors.Unavailable),
        (418, {}, ApiError),
    ],
)
def test_maps_codes(code: int, status: dict[str, Any], expected: type[ApiError]) -> None:
    error = error_of(code, status, request="PATCH /api/v1/x")
    assert type(error) is expected
    assert error.code == code
    assert "PATCH /api/v1/x" in str(error)


def test_keeps_what_the_server_asks_for() -> None:
    assert error_of(429, {}, request="", retry_after=7).retry_after == 7
    assert error_of(429, {"details": {"retryAfterSeconds": 3}}, request="").retry_after == 3.0
    expired = error_of(410, {"metadata": {"continue": "rest"}}, request="")
    assert isinstance(expired, errors.Expired)
    assert expired.continuation == "rest"


def test_an_answer_without_a_reason_still_reads_well() -> None:
    assert "gave no reason" in str(error_of(503, {}, request="GET /x"))


def test_the_tree_in_the_docstring_names_every_class() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ApiError)
    }
    documented = {
        line.replace("|", " ").replace("`", " ").replace("-", " ").split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if line.startswith("    ")
    }
    assert documented == classes
