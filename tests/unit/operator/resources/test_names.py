from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st
from resource_samples import FULL, Sample, objects

from anneal_api.job import MAX_NAME
from anneal_operator.resources.names import is_name_of

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
LONGEST_LABEL = 63
LONGEST_RAY_NAME = 47

job_names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", fullmatch=True)


def every_metadata(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "metadata":
                yield part
            yield from every_metadata(part)
    elif isinstance(value, list):
        for part in value:
            yield from every_metadata(part)


@given(job_names, st.integers(1, 99_999), st.integers(1, 99), st.integers(1, 99_999))
@example("a" * MAX_NAME, 99_999, 99, 99_999)
@example("0" * MAX_NAME, 99_999, 99, 99_999)
@example("1.2-3.4", 1, 1, 1)
def test_names_fit_whatever_the_job_is_called(name: str, generation: int, attempt: int, version: int) -> None:
    bodies = objects(Sample(FULL, name, generation, attempt, version))
    for body in bodies.values():
        own = body["metadata"]["name"]
        longest = LONGEST_RAY_NAME if body["apiVersion"] == "ray.io/v1" else LONGEST_LABEL
        assert DNS_LABEL.fullmatch(own), own
        assert len(own) <= longest
        for metadata in every_metadata(body):
            for value in metadata.get("labels", {}).values():
                assert LABEL_VALUE.fullmatch(value), value
                assert len(value) <= LONGEST_LABEL
    kinds_and_names = [(body["kind"], body["metadata"]["name"]) for body in bodies.values()]
    assert len(set(kinds_and_names)) == len(kinds_and_names)


@given(job_names, job_names)
@example("a-b", "a.b")
@example("j-1", "1")
@example("a" * 63, "a" * 62)
def test_two_jobs_share_no_name(one: str, two: str) -> None:
    assume(one != two)
    first, second = (
        {(body["kind"], body["metadata"]["name"]) for body in objects(Sample(FULL, name)).values()}
        for name in (one, two)
    )
    assert not first & second


def test_everything_belongs_to_the_job() -> None:
    sample = Sample(FULL)
    for name, body in objects(sample).items():
        metadata = body["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert owner == {
            "apiVersion": "anneal.dev/v1alpha1",
            "kind": "FineTuneJob",
            "name": "reviews",
            "uid": sample.job["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": name != "cleanup",
        }
        assert metadata["namespace"] == "nlp"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "anneal-operator"
        assert metadata["labels"]["anneal.dev/job-uid"] == owner["uid"]


def test_building_changes_nothing_that_it_is_given() -> None:
    sample = Sample(FULL)
    job, settings = sample.job, copy.deepcopy(sample.settings)
    objects(sample)
    objects(sample)
    assert sample.job == job
    assert sample.settings == settings


@given(job_names)
def test_labels_have_the_jobs_own_name_and_the_service_as_much_of_it_as_it_can(name: str) -> None:
    bodies = objects(Sample(FULL, name))
    for body in bodies.values():
        assert body["metadata"]["labels"]["anneal.dev/job"] == name
    if DNS_LABEL.fullmatch(name) and len(name) <= LONGEST_RAY_NAME:
        assert bodies["service"]["metadata"]["name"] == name
        assert bodies["service"]["spec"]["serveService"]["metadata"]["name"] == name
    assert all(is_name_of(name, body["metadata"]["name"]) for body in bodies.values())


def test_a_name_that_only_begins_alike_is_another_jobs() -> None:
    assert not is_name_of("reviews", "reviewsers-g1")
    assert is_name_of("reviews", "reviews-g1-a1-x7k2p")
