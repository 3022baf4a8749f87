"""What a job's pods make of its resources agrees with what the operator asks for."""

from __future__ import annotations

import pytest

from anneal_api.job import FineTuneJob
from anneal_operator.resources import rayjobs
from anneal_operator.resources.ray_clusters import whole_cpus
from anneal_trainer.cluster import parts


def job(**resources: object) -> FineTuneJob:
    return FineTuneJob.model_validate(
        {
            "apiVersion": "anneal.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": "reviews"},
            "spec": {
                "task": "text-classification",
                "model": {"source": "pkg://models/bert"},
                "data": {"train": {"uri": "pvc://data/x.csv"}},
                "resources": resources,
            },
        }
    )


def test_a_worker_that_says_nothing_has_what_the_operator_gives_it():
    assert parts.DEFAULT_CPU == rayjobs._DEFAULT_CPU
    assert parts.DEFAULT_MEMORY == rayjobs._DEFAULT_MEMORY


@pytest.mark.parametrize("cpu", ["100m", "1", "1500m", "2.5", "8"])
def test_a_worker_asks_ray_for_no_more_than_its_pod_has(cpu):
    assert parts.worker_group(job(cpu=cpu)).cpus_per_worker == whole_cpus(cpu)


def test_workers_with_gpus_have_a_process_each():
    group = parts.worker_group(job(workers=3, gpusPerWorker=2))
    assert group.processes == 6


def test_preflight_judges_the_memory_of_the_workers_and_not_of_its_own_pod():
    machine = parts.workers_machine(job(workers=3, memory="1000Gi"))
    assert machine.memory_bytes == 3000 * 2**30
    assert parts.workers_machine(job()).memory_bytes == 4 * 2**30


def test_more_workers_are_faster():
    one, many = (parts.workers_machine(job(workers=workers, cpu="2")) for workers in (1, 64))
    assert many.flops > 8 * one.flops
