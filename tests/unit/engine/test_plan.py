"""What a training process gets of its worker, and asks Ray for."""

from __future__ import annotations

from pathlib import Path

import pytest

from anneal_trainer.engine.plan import CheckpointStorage, TrainingPlan, WorkerGroup


def test_a_process_on_a_cpu_gets_the_whole_worker():
    group = WorkerGroup(workers=3, gpus_per_worker=0, cpus_per_worker=4)
    assert group.processes == 3
    assert group.threads_per_process == 4
    assert group.resources_per_process == {"CPU": 4}


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize("cpus", [1, 2, 7, 16])
def test_all_processes_of_a_worker_find_room_in_it(gpus, cpus):
    group = WorkerGroup(workers=1, gpus_per_worker=gpus, cpus_per_worker=cpus)
    assert group.processes == gpus
    assert group.resources_per_process["GPU"] == 1
    assert group.processes * group.resources_per_process["CPU"] <= cpus


def test_the_processes_of_a_worker_share_its_threads():
    assert WorkerGroup(workers=2, gpus_per_worker=4, cpus_per_worker=8).threads_per_process == 2
    assert WorkerGroup(workers=2, gpus_per_worker=4, cpus_per_worker=1).threads_per_process == 1


@pytest.mark.parametrize("paths", [("base", "/prepared"), ("/base", "prepared")])
def test_a_training_has_no_paths_that_mean_something_else_in_a_worker(paths):
    base, prepared = map(Path, paths)
    with pytest.raises(ValueError, match="another process"):
        TrainingPlan(base, prepared, None, None, "accuracy", 1)


def test_checkpoints_go_to_an_absolute_folder_or_to_a_bucket():
    with pytest.raises(ValueError, match="another process"):
        CheckpointStorage("checkpoints")
    assert CheckpointStorage("bucket/key", {}).path == "bucket/key"
    assert CheckpointStorage("/checkpoints").path == "/checkpoints"
