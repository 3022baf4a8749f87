from __future__ import annotations

import copy
import datetime as dt
import math
import re
from typing import Any

import pytest

from anneal_api.errors import Problem
from anneal_api.validation import MAX_DEPTH, validate

Manifest = dict[str, Any]


def put(manifest: Manifest, path: str, value: object) -> Manifest:
    """Returns a copy with a value at a path such as `spec.evaluation.gates[0].min`."""
    changed = copy.deepcopy(manifest)
    *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", path)]
    part: Any = changed
    for parent in parents:
        part = part[parent] if isinstance(parent, int) else part.setdefault(parent, {})
    part[last] = value
    return changed


def only_problem(document: object) -> Problem:
    problems = validate(document).problems
    assert len(problems) == 1, problems
    return problems[0]


def test_a_good_manifest_becomes_a_job(manifest: Manifest) -> None:
    validation = validate(manifest)
    assert validation.problems == ()
    assert validation.job is not None
    assert validation.job.spec.training.learning_rate == 2e-5


@pytest.mark.parametrize(
    ("path", "value", "what", "remedy"),
    [
        ("spec.training.epochs", "3", "must be a whole number, but it is the text '3'", "Remove the quotes."),
        ("spec.training.epochs", 2.5, "must be a whole number", "without a fraction"),
        ("spec.training.epochs", True, "must be a whole number, but it is true", ""),
        ("spec.training.epochs", 0, "0 is out of range", "Make it at least 1."),
        ("spec.training.batchSize", 2**21, "out of range", "Make it at most 1048576."),
        ("spec.training.learningRate", 0, "out of range", "Make it more than 0."),
        ("spec.training.learningRate", "2e-5", "must be a number, but it is the text", "Remove the quotes."),
        ("spec.training.learningRate", math.nan, "nan is not a number that can be used", "finite"),
        ("spec.training.maxGradNorm", math.inf, "inf is not a number that can be used", "finite"),
        ("spec.training.seed", 2**200, "too large", ""),
        ("spec.training", None, "empty", "Give it a value, or remove the line."),
        ("spec.training", [3], "must be a mapping, but it is a list", "indented"),
        ("spec.data.private", "yes", "must be true or false", "without quotes"),
        ("spec.model.revision", 20240101, "must be text, but it is the number", "Put it in quotes."),
        ("spec.model.source", "", "empty", "Give it a value."),
        ("spec.evaluation.metrics", "f1", "must be a list", "Write a list"),
        ("spec.evaluation.metrics", ["f1"] * 40, "There are 40 entries", "at most 32"),
        ("spec.data.columns.text", "x" * 300, "300 characters", "at most 253"),
        ("spec.training.precision", "fp23", "not one of the values", "Did you mean `fp32`?"),
        ("spec.training.precision", "int4", "not one of the values", "`auto` or `fp32` or `bf16`"),
        ("spec.training.lrSchedulerType", 3, "not one of the values", "`linear`"),
        ("spec.task", "text_clasification", "not one of the values", "Did you mean `text-classification`?"),
        ("spec.task", "vision", "not one of the values", "Use `text-classification`."),
        ("kind", "Finetunejob", "not one of the values", "Did you mean `FineTuneJob`?"),
        ("apiVersion", "anneal.dev/v1", "not one of the values", "Did you mean `anneal.dev/v1alpha1`?"),
        ("metadata.name", "My Reviews", "not a valid name", "lower-case"),
        ("metadata.name", "n" * 64, "64 characters", "at most 63"),
        ("spec.resources.cpu", "lots", "not valid here", "Write a quantity as Kubernetes does"),
        ("spec.resources.cpu", 0.5, "must be text, but it is the number 0.5", "Put it in quotes."),
        ("spec.evaluation.gates[0]", 0.9, "must be a mapping, but it is the number 0.9", "indented"),
    ],
)
def test_a_bad_value_is_told_with_its_place_and_remedy(
    manifest: Manifest, path: str, value: object, what: str, remedy: str
) -> None:
    problem = only_problem(put(manifest, path, value))
    assert problem.where == path
    assert what in problem.what
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("spec.training.learning_rate", "Did you mean `learningRate`?"),
        ("spec.training.learningrate", "Did you mean `learningRate`?"),
        ("spec.training.learnigRate", "Did you mean `learningRate`?"),
        ("spec.training.num_train_epochs", "Did you mean `epochs`?"),
        ("spec.training.lr", "Did you mean `learningRate`?"),
        ("spec.epochs", "Did you mean `spec.training.epochs`?"),
        ("spec.name", "Did you mean `metadata.name`?"),
        ("training", "Did you mean `spec.training`?"),
        ("spec.data.columns.labels", "Did you mean `label`?"),
        ("spec.compression.quantize", "Did you mean `spec.compression.variants[].quantize`?"),
        ("spec.serving.replicas.zzz", "Remove it. The fields here are `min`, `max`."),
    ],
)
def test_an_unknown_field_is_told_with_what_was_meant(manifest: Manifest, path: str, remedy: str) -> None:
    problem = only_problem(put(manifest, path, 3))
    assert problem == Problem("There is no such field.", path, remedy)


def test_a_missing_field_is_told_with_what_it_is(manifest: Manifest) -> None:
    del manifest["spec"]["model"]["source"]
    problem = only_problem(manifest)
    assert problem.where == "spec.model.source"
    assert "missing" in problem.what
    assert "Add `source`: A Hugging Face hub id" in problem.remedy


def test_an_empty_mapping_misses_everything_required() -> None:
    problems = validate({}).problems
    assert [problem.where for problem in problems] == ["apiVersion", "kind", "metadata", "spec"]
    assert problems[0].remedy == "Add `apiVersion: anneal.dev/v1alpha1`."


@pytest.mark.parametrize("document", [None, 3, "text", [], [{"kind": "FineTuneJob"}], {1, 2}])
def test_what_is_not_a_mapping_is_one_problem(document: object) -> None:
    assert validate(document).job is None
    assert any("A manifest is a mapping" in problem.what for problem in validate(document).problems)


def test_all_problems_are_told_at_once(manifest: Manifest) -> None:
    manifest = put(manifest, "spec.training.epochs", 0)
    manifest = put(manifest, "spec.trainnig", {})
    manifest = put(manifest, "spec.evaluation.metrics", ["acuracy"])
    manifest = put(manifest, "spec.deadline", "12h")
    where = {problem.where for problem in validate(manifest).problems}
    assert where >= {"spec.training.epochs", "spec.trainnig", "spec.deadline"}


def test_rules_and_unsupported_fields_are_told_beside_a_bad_value(manifest: Manifest) -> None:
    manifest = put(manifest, "spec.training.epochs", 0)
    manifest = put(manifest, "spec.evaluation.metrics", ["acuracy"])
    manifest = put(manifest, "spec.deadline", "12h")
    where = [problem.where for problem in validate(manifest).problems]
    assert where == ["spec.training.epochs", "spec.evaluation.metrics[0]", "spec.deadline"]


def test_a_misspelt_field_is_not_also_told_as_absent(manifest: Manifest) -> None:
    manifest["spec"]["data"]["split"] = {"validaton": 0.1, "test": 0.1}
    assert only_problem(manifest).where == "spec.data.split.validaton"


@pytest.mark.parametrize(
    ("path", "value", "where", "what", "remedy"),
    [
        ("spec.evaluation.gates", [{"metric": "f1"}], "spec.evaluation.gates[0]", "no bar", "min: 0.9"),
        (
            "spec.evaluation.gates",
            [{"metric": "f1", "min": 0.5}, {"metric": "f1", "min": 0.5, "versusIncumbent": 0}],
            "spec.evaluation.gates[1]",
            "2 bars: `min` and `versusIncumbent`",
            "Write one gate for each.",
        ),
        (
            "spec.evaluation.gates[0].metric",
            "f1_mirco",
            "",
            "no metric 'f1_mirco'",
            "Did you mean `f1_micro`?",
        ),
        ("spec.evaluation.metrics", ["f1", "bleu"], "spec.evaluation.metrics[1]", "no metric", "Use one of"),
        (
            "spec.training.earlyStopping",
            {"metric": "acc"},
            "spec.training.earlyStopping.metric",
            "no metric",
            "Did you mean `accuracy`?",
        ),
        ("spec.data.split", {"validation": 0.1}, "spec.data", "for test", "Add `split: {test: 0.1}`"),
        (
            "spec.data.split",
            {},
            "spec.data",
            "for validation and test",
            "Add `split: {validation: 0.1, test: 0.1}`",
        ),
        (
            "spec.data.test",
            {"uri": "test.csv"},
            "spec.data.split.test",
            "given twice",
            "Remove one of the two.",
        ),
        ("spec.data.split", {"validation": 0.5, "test": 0.5}, "", "sum to 1;", "less than 1"),
        ("spec.data.columns", {"text": "a", "label": "a"}, "", "same column", "`label`"),
        ("spec.compression.variants[0].name", "fp32", "", "is taken", "another name"),
        (
            "spec.compression.variants",
            [{"name": "a", "quantize": {}}, {"name": "a", "quantize": {"perChannel": False}}],
            "spec.compression.variants[1].name",
            "Two variants",
            "another name",
        ),
        ("spec.compression.variants", [{"name": "a"}], "spec.compression.variants[0]", "no step", "quantize"),
        ("spec.serving.replicas", {"min": 3, "max": 2}, "", "more than `max`", "Raise `max`"),
        ("spec.serving.maxBatchTokens", 100, "", "(256) tokens would be refused", "at least 256"),
        ("spec.training.batchSize", 1, "", "cannot be shared by 2 processes", "at least 2"),
        ("spec.resources.gpusPerWorker", 20, "spec.training.batchSize", "by 40 processes", "at least 40"),
        ("spec.model", {"source": "pkg://a/b", "revision": "v1"}, "spec.model.revision", "hub", "Remove it."),
        ("spec.data.train", {"uri": "a.csv", "split": "train"}, "spec.data.train.split", "hub", "hf://"),
        ("spec.data.train", {"uri": "hf://sst2", "format": "csv"}, "spec.data.train.format", "own", "Remove"),
        ("spec.data.train.uri", "https://example.org/a.csv", "", "not known here", "`file://`"),
        ("spec.data.train.uri", "file://a.csv", "", "not a place on this machine", "three slashes"),
        ("spec.data.train.uri", "hf://", "", "names no place", "behind `hf://`"),
        ("spec.model.source", "hf://bert-base-uncased", "", "not known here", "without a scheme"),
        ("spec.store", {"uri": "hf://me/store"}, "spec.store.uri", "not known here", "path"),
    ],
)
def test_a_broken_rule_is_told_with_its_place_and_remedy(
    manifest: Manifest, path: str, value: object, where: str, what: str, remedy: str
) -> None:
    problem = only_problem(put(manifest, path, value))
    assert problem.where == (where or path)
    assert what in problem.what
    assert remedy in problem.remedy


def test_a_split_that_cuts_nothing_is_told(manifest: Manifest) -> None:
    sources = {"train": {"uri": "a.csv"}, "validation": {"uri": "b.csv"}, "test": {"uri": "c.csv"}}
    assert validate(put(manifest, "spec.data", sources)).problems == ()
    assert validate(put(manifest, "spec.data", {**sources, "split": {"seed": 7}})).problems == ()
    problem = only_problem(put(manifest, "spec.data", {**sources, "split": {"seed": 3}}))
    assert problem.where == "spec.data.split.seed"
    assert "no effect" in problem.what


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.resources.cpu", 2),
        ("spec.resources.cpu", "500m"),
        ("spec.training.epochs", 3.0),
        ("spec.training.weightDecay", 0),
        ("spec.evaluation.gates[0]", {"metric": "f1", "versusIncumbent": -0.005}),
        ("spec.data.train.uri", "pkg://reviews/train.csv"),
        ("spec.data.train", {"uri": "hf://sst2/plain", "split": "train"}),
        ("spec.store", {"uri": "file:///models"}),
        ("spec.model", {"source": "owner/model", "revision": "v1"}),
        ("spec.model", {"source": "pkg://a/b", "revision": "main"}),
        ("metadata.managedFields", [{"manager": "kubectl"}]),
        ("metadata.labels", {"app.kubernetes.io/name": "anneal"}),
        ("status", {"phase": "Running"}),
    ],
)
def test_what_the_cluster_accepts_is_accepted(manifest: Manifest, path: str, value: object) -> None:
    assert validate(put(manifest, path, value)).problems == ()


def test_keys_that_are_no_words_are_quoted_in_places(manifest: Manifest) -> None:
    problem = only_problem(put(manifest, "metadata.labels", {"a.b/c": 1}))
    assert problem.where == "metadata.labels['a.b/c']"


@pytest.mark.parametrize("value", [dt.date(2024, 1, 1), b"x", {1, 2}, object(), "\ud800", {3: 4}])
def test_what_json_cannot_say_is_told(manifest: Manifest, value: object) -> None:
    problems = validate(put(manifest, "metadata.labels", {"x": value})).problems
    assert problems
    assert all(problem.where.startswith("metadata.labels.x") for problem in problems)


def test_depth_and_size_have_a_limit() -> None:
    deep: list[object] = []
    for _ in range(MAX_DEPTH * 100):
        deep = [deep]
    assert "deep" in only_problem({"spec": deep}).what
    loop: list[object] = []
    loop.append(loop)
    assert "deep" in only_problem({"spec": loop}).what
    bomb: object = "x"
    for _ in range(12):
        bomb = [bomb] * 10
    assert "values" in only_problem({"spec": bomb}).what
