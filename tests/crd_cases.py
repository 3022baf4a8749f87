"""Manifests for a cluster, good and broken: what `anneal validate` and a real API server must say about each alike."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

from anneal_api import rules
from anneal_api.rules import Rule

Manifest = dict[str, Any]

REMOVED = object()
"""As a change: the field is left out."""


def good_manifest(name: str = "reviews") -> Manifest:
    """Returns a manifest for a cluster without a fault, that has every part which a rule is about."""
    return {
        "apiVersion": "anneal.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name},
        "spec": {
            "task": "text-classification",
            "model": {"source": "google-bert/bert-base-uncased", "revision": "v1"},
            "store": {"uri": "pvc://models/anneal"},
            "data": {
                "train": {"uri": "pvc://datasets/reviews.csv"},
                "split": {"validation": 0.1, "test": 0.1},
                "columns": {"text": "review", "label": "sentiment"},
            },
            "training": {"batchSize": 32, "maxLength": 128},
            "resources": {
                "workers": 2,
                "cpu": "500m",
                "memory": "2Gi",
                "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            },
            "evaluation": {"metrics": ["f1"], "gates": [{"metric": "f1", "min": 0.8}]},
            "compression": {"variants": [{"name": "int8", "quantize": {}}]},
            "serving": {"replicas": {"min": 1, "max": 2}},
            "retention": {"versions": 2, "ttlAfterFinished": "1h30m"},
            "deadline": "12h",
        },
    }


def changed(manifest: Manifest, changes: dict[str, object]) -> Manifest:
    """Returns a copy with values at paths such as `spec.evaluation.gates[0].min`."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", path)]
        part: Any = result
        for parent in parents:
            part = part[parent] if isinstance(parent, int) else part.setdefault(parent, {})
        if value is REMOVED:
            del part[last]
        else:
            part[last] = value
    return result


@dataclass(frozen=True)
class Broken:
    """A way to break the good manifest.

    Attributes:
        name: What is broken, in a word or two.
        changes: The values that break it, by their paths.
        message: What the API server says, in part.
        where: The field that the API server names; `<nil>` is the whole object.
        rule: The rule of `rules.py` that sees it too; None: its schema, or what a cluster cannot reach.
    """

    name: str
    changes: dict[str, object]
    message: str
    where: str
    rule: Rule | None = field(default=None)

    def manifest(self) -> Manifest:
        """Returns the broken manifest."""
        return changed(good_manifest(), self.changes)


_SOURCES = {"uri": "pvc://datasets/more.csv"}
_TRAIN = "spec.data.train"

BROKEN: tuple[Broken, ...] = (
    Broken("long name", {"metadata.name": "n" * 64}, "metadata.name has more than 63 characters", "<nil>"),
    Broken("bare local path", {f"{_TRAIN}.uri": "reviews.csv"}, "does not have the disk", f"{_TRAIN}.uri"),
    Broken("file on a disk", {f"{_TRAIN}.uri": "file:///d/r.csv"}, "does not have the disk", f"{_TRAIN}.uri"),
    Broken(
        "local store",
        {"spec.store.uri": "/models"},
        "write pvc://CLAIM/PATH, or into a bucket and write s3://BUCKET/PREFIX",
        "spec.store.uri",
    ),
    Broken(
        "local model",
        {"spec.model": {"source": "./models/bert"}},
        "write OWNER/NAME for a model of the hub",
        "spec.model.source",
    ),
    Broken(
        "web address",
        {f"{_TRAIN}.uri": "https://example.org/reviews.csv"},
        "hf://NAME or pkg://PACKAGE/PATH",
        f"{_TRAIN}.uri",
        rules.places_are_known,
    ),
    Broken(
        "place without a name",
        {f"{_TRAIN}.uri": "pvc://"},
        "write pvc://CLAIM/PATH",
        f"{_TRAIN}.uri",
        rules.places_are_known,
    ),
    Broken(
        "claim in capitals",
        {f"{_TRAIN}.uri": "pvc://Datasets/reviews.csv"},
        "is written pvc://CLAIM/PATH",
        f"{_TRAIN}.uri",
        rules.claims_have_names,
    ),
    Broken(
        "way out of the claim",
        {"spec.store.uri": "pvc://models/../../etc"},
        "no `..`",
        "spec.store.uri",
        rules.claims_have_names,
    ),
    Broken(
        "folder in a ConfigMap",
        {f"{_TRAIN}.uri": "configmap://datasets/reviews/train.csv"},
        "is written configmap://NAME/FILE",
        f"{_TRAIN}.uri",
        rules.config_maps_have_files,
    ),
    Broken(
        "bucket in capitals",
        {f"{_TRAIN}.uri": "s3://Datasets/reviews.csv"},
        "is written s3://BUCKET/KEY",
        f"{_TRAIN}.uri",
        rules.buckets_have_names,
    ),
    Broken(
        "store in a bucket in capitals",
        {"spec.store.uri": "s3://Models/anneal"},
        "is written s3://BUCKET/KEY",
        "spec.store.uri",
        rules.buckets_have_names,
    ),
    Broken(
        "way out of the prefix",
        {"spec.store.uri": "s3://models/anneal/../others"},
        "no `.` and no `..`",
        "spec.store.uri",
        rules.buckets_have_names,
    ),
    Broken(
        "secret of a store in no bucket",
        {"spec.store.secretRef": {"name": "s3"}},
        "secretRef is for a store in a bucket",
        "spec.store.secretRef",
        rules.secrets_open_buckets,
    ),
    Broken(
        "secret of no bucket",
        {"spec.data.secretRef": {"name": "s3"}},
        "secretRef is for data in a bucket",
        "spec.data.secretRef",
        rules.secrets_open_buckets,
    ),
    Broken(
        "store in a ConfigMap",
        {"spec.store.uri": "configmap://models/anneal"},
        "put the store on a PersistentVolumeClaim",
        "spec.store.uri",
        rules.places_are_known,
    ),
    Broken(
        "revision of a folder",
        {"spec.model": {"source": "pkg://bert/model", "revision": "v1"}},
        "revision belongs to a model of the hub",
        "spec.model.revision",
        rules.only_the_hub_has_revisions,
    ),
    Broken(
        "split of a file",
        {_TRAIN: {"uri": "pvc://datasets/reviews.csv", "split": "train"}},
        "only data sets of the hub",
        f"{_TRAIN}.split",
        rules.sources_use_their_fields,
    ),
    Broken(
        "format of a hub data set",
        {_TRAIN: {"uri": "hf://stanfordnlp/sst2", "format": "csv"}},
        "knows its own format",
        f"{_TRAIN}.format",
        rules.sources_use_their_fields,
    ),
    Broken(
        "no test rows",
        {"spec.data.split": {"validation": 0.1}},
        "no rows are named for test: add `split: {test: 0.1}`",
        "spec.data",
        rules.held_out_rows_have_one_source,
    ),
    Broken(
        "no held-out rows at all",
        {"spec.data.split": REMOVED},
        "no rows are named for validation",
        "spec.data",
        rules.held_out_rows_have_one_source,
    ),
    Broken(
        "test rows twice",
        {"spec.data.test": _SOURCES},
        "given twice, as `test` and as `split.test`",
        "spec.data.test",
        rules.held_out_rows_have_one_source,
    ),
    Broken(
        "split without effect",
        {"spec.data.validation": _SOURCES, "spec.data.test": _SOURCES, "spec.data.split": {"seed": 3}},
        "split has no effect",
        "spec.data.split",
        rules.split_is_used,
    ),
    Broken(
        "nothing left to train on",
        {"spec.data.split": {"validation": 0.5, "test": 0.5}},
        "make them sum to less than 1",
        "spec.data.split",
        rules.split_leaves_training_rows,
    ),
    Broken(
        "one column for both",
        {"spec.data.columns": {"text": "label"}},
        "the same column",
        "spec.data.columns.label",
        rules.columns_differ,
    ),
    Broken(
        "gate without a bar",
        {"spec.evaluation.gates": [{"metric": "f1"}]},
        "exactly one of min, max, versusIncumbent and maxGap",
        "spec.evaluation.gates[0]",
        rules.gates_name_one_bar,
    ),
    Broken(
        "gate with two bars",
        {"spec.evaluation.gates": [{"metric": "f1", "min": 0.5}, {"metric": "f1", "min": 0.5, "max": 1}]},
        "write one gate for each bar",
        "spec.evaluation.gates[1]",
        rules.gates_name_one_bar,
    ),
    Broken(
        "slice without a gap",
        {"spec.evaluation.gates[0].slice": "region"},
        "slice and maxGap belong together",
        "spec.evaluation.gates[0]",
        rules.gates_name_one_bar,
    ),
    Broken(
        "two variants of a name",
        {"spec.compression.variants": [{"name": "a", "quantize": {}}, {"name": "a", "quantize": {}}]},
        "two variants have the same name",
        "spec.compression.variants",
        rules.variants_are_distinct,
    ),
    Broken(
        "variant called fp32",
        {"spec.compression.variants[0].name": "fp32"},
        "the name fp32 is taken",
        "spec.compression.variants[0].name",
        rules.variants_are_distinct,
    ),
    Broken(
        "variant without a step",
        {"spec.compression.variants": [{"name": "a"}]},
        "add `quantize: {}`",
        "spec.compression.variants[0]",
        rules.variants_are_distinct,
    ),
    Broken(
        "fewer rows than processes",
        {"spec.training.batchSize": 3, "spec.resources.gpusPerWorker": 2},
        "less than the processes",
        "spec.training.batchSize",
        rules.batch_reaches_every_process,
    ),
    Broken(
        "more workers at least than at most",
        {"spec.resources.minWorkers": 3},
        "minWorkers is more than workers",
        "spec.resources.minWorkers",
        rules.workers_are_ordered,
    ),
    Broken(
        "toleration of nothing",
        {"spec.resources.tolerations": [{"effect": "NoSchedule"}]},
        "`operator: Exists` to accept every taint",
        "spec.resources.tolerations[0]",
        rules.tolerations_are_a_pods,
    ),
    Broken(
        "toleration of a value that exists",
        {"spec.resources.tolerations[0].value": "a100"},
        "accepts every value",
        "spec.resources.tolerations[0].value",
        rules.tolerations_are_a_pods,
    ),
    Broken(
        "toleration of NoSchedule for a time",
        {"spec.resources.tolerations[0].tolerationSeconds": 60},
        "only a NoExecute taint is tolerated for a time",
        "spec.resources.tolerations[0].tolerationSeconds",
        rules.tolerations_are_a_pods,
    ),
    Broken(
        "replicas in the wrong order",
        {"spec.serving.replicas": {"min": 3}},
        "min is more than max",
        "spec.serving.replicas.min",
        rules.replicas_are_ordered,
    ),
    Broken(
        "requests shorter than texts",
        {"spec.serving.maxBatchTokens": 100},
        "a text of full length would be refused",
        "spec.serving.maxBatchTokens",
        rules.full_length_texts_are_answered,
    ),
    Broken(
        "canary that falls",
        {"spec.rollout": {"steps": [50, 10, 100]}},
        "write for example [10, 50, 100]",
        "spec.rollout.steps",
        rules.rollout_rises_to_all_traffic,
    ),
    Broken(
        "canary that stands",
        {"spec.rollout": {"steps": [50, 50, 100]}},
        "write for example [10, 50, 100]",
        "spec.rollout.steps",
        rules.rollout_rises_to_all_traffic,
    ),
    Broken(
        "canary that never ends",
        {"spec.rollout": {"steps": [10, 50]}},
        "write for example [10, 50, 100]",
        "spec.rollout.steps",
        rules.rollout_rises_to_all_traffic,
    ),
)
"""One mistake each."""

SCHEMA_BROKEN: tuple[Broken, ...] = (
    Broken("no task", {"spec.task": REMOVED}, "Required value", "spec.task"),
    Broken("unknown task", {"spec.task": "vision"}, "Unsupported value", "spec.task"),
    Broken(
        "text for a number", {"spec.training.epochs": "3"}, "must be of type integer", "spec.training.epochs"
    ),
    Broken("zero epochs", {"spec.training.epochs": 0}, "greater than or equal to 1", "spec.training.epochs"),
    Broken(
        "zero learning rate",
        {"spec.training.learningRate": 0},
        "greater than 0",
        "spec.training.learningRate",
    ),
    Broken("whole share", {"spec.data.split.test": 1}, "less than 1", "spec.data.split.test"),
    Broken("long deadline", {"spec.deadline": "two days"}, "should match", "spec.deadline"),
    Broken("odd amount", {"spec.resources.memory": "lots"}, "should match", "spec.resources.memory"),
    Broken("fraction without quotes", {"spec.resources.cpu": 0.5}, "must be of type", "spec.resources.cpu"),
    Broken(
        "odd variant name", {"spec.compression.variants[0].name": "Int8"}, "should match", "spec.compression"
    ),
    Broken("odd node label", {"spec.resources.nodeSelector": {"a": "b c"}}, "should match", "spec.resources"),
    Broken(
        "too many metrics", {"spec.evaluation.metrics": ["f1"] * 33}, "at most 32", "spec.evaluation.metrics"
    ),
)
"""One mistake each that no rule is needed for."""
