"""An operator of an earlier commit takes over a job from this one, and this one from it, wherever the job is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from other_release import ROOT, OtherRelease, SharedCluster

from anneal_api.status import Phase

RELEASES = {
    "aff2c59": "the last one that read a status field by field",
    "HEAD~1": "the one before this commit",
}
PHASES = ["Preparing", "Training", "Finishing", "Deploying", "Ready"]


def _has(commit: str) -> bool:
    command = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0


@pytest.fixture(params=RELEASES, scope="module")
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherRelease]:
    if not _has(request.param):
        pytest.skip(f"this copy of the repository has no commit {request.param}")
    release = OtherRelease(request.param, tmp_path_factory.mktemp("other"))
    yield release
    release.close()


def shared(other: OtherRelease) -> SharedCluster:
    cluster = SharedCluster()
    # One condition that it did not know made it forget the times of all.
    cluster.keeps_times = other.knows_open_words
    return cluster


def _changes(cluster: SharedCluster) -> list[tuple[str, str]]:
    return [place for place in cluster.created if place[0] in {"RayJob", "RayService"}]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("back", [True, False], ids=["back", "forth"])
def test_a_job_goes_on_where_it_is(other, phase, back):
    cluster = shared(other)
    cluster.other = None if back else other
    cluster.go(until=phase)
    cluster.other = other if back else None
    cluster.restart_operator()
    cluster.go(until="Ready")
    service = dict(cluster.objects["RayService", "reviews"]["spec"])
    cluster.other = None if back else other
    status = cluster.go(3)
    assert (status["phase"], status["attempt"], status["failures"]) == (Phase.READY, 1, [])
    assert status["servedVersion"] == "v1"
    assert _changes(cluster) == [("RayJob", "reviews-g1-a1"), ("RayService", "reviews")]
    assert cluster.objects["RayService", "reviews"]["spec"] == service


@pytest.mark.parametrize("back", [True, False], ids=["back", "forth"])
def test_what_failed_for_good_stays_so_and_what_serves_goes_on(other, back):
    cluster = shared(other)
    cluster.other = None if back else other
    cluster.go(until="Ready")
    cluster.edit(training={"epochs": 4})
    cluster.go(until="Training")
    cluster.work()
    cluster.work()
    cluster.fail("DataInvalid")
    assert cluster.go(3)["phase"] == "Failed"
    made = _changes(cluster)
    cluster.other = other if back else None
    cluster.restart_operator()
    for _ in range(5):
        status = cluster.go(2)
        cluster.tick(100)
        assert (status["phase"], status["servedVersion"]) == ("Failed", "v1")
    assert _changes(cluster) == made
