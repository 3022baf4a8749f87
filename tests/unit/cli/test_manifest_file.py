from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anneal_api.errors import ManifestInvalid
from anneal_api.support import Place
from anneal_cli.manifest_file import MAX_BYTES, check_file, load_job, load_jobs
from anneal_cli.yaml_lines import UnreadableError, read_documents

Write = Callable[..., Path]


def told(path: Path) -> list[tuple[int, str, str]]:
    """Returns line, place in the spec and sentence of each problem."""
    return [
        (each.mark.line if each.mark else 0, each.problem.where, each.problem.what)
        for each in check_file(path).problems
    ]


def test_a_job_is_loaded(write: Write, good: str) -> None:
    job = load_job(write(good))
    assert job.metadata.name == "reviews"
    assert job.spec.training.learning_rate == 2e-5


def test_a_job_is_loaded_for_the_place_that_it_is_to_run_on(write: Write, good: str) -> None:
    path = write(good.replace("train.csv", '"pvc://datasets/train.csv"'))
    assert load_job(path, Place.CLUSTER).spec.data.train.uri == "pvc://datasets/train.csv"
    with pytest.raises(ManifestInvalid, match="apply the manifest to a cluster"):
        load_job(path)


def test_scalars_are_those_of_yaml_1_2(write: Write, good: str) -> None:
    columns = "    columns: {text: no, label: 2024-01-01}\n"
    job = load_job(write(good.replace("  training:\n", columns + "  training:\n")))
    assert job.spec.data.columns.text == "no"
    assert job.spec.data.columns.label == "2024-01-01"


def test_a_byte_order_mark_is_no_harm(write: Write, good: str) -> None:
    assert load_job(write(b"\xef\xbb\xbf" + good.encode())).metadata.name == "reviews"


def test_a_problem_knows_its_line_and_column(write: Write, good: str) -> None:
    path = write(good.replace("learningRate", "learning_rate"))
    with pytest.raises(ManifestInvalid) as caught:
        load_job(path)
    assert caught.value.where == f"{path}:13:5 spec.training.learning_rate"
    assert caught.value.remedy == "Did you mean `learningRate`?"


def test_a_missing_field_has_the_line_of_its_parent(write: Write, good: str) -> None:
    path = write(good.replace("    source: bert-base-uncased\n", "    revision: main\n"))
    assert [line[:2] for line in told(path)] == [(6, "spec.model.source")]


def test_a_problem_in_a_list_has_the_line_of_its_item(write: Write, good: str) -> None:
    gates = (
        "  evaluation:\n    gates:\n      - {metric: f1, min: 0.9}\n      - metric: f1\n        min: high\n"
    )
    assert [line[:2] for line in told(write(good + gates))] == [(18, "spec.evaluation.gates[1].min")]
    gates = gates.replace("        min: high\n", "")
    assert [line[:2] for line in told(write(good + gates))] == [(17, "spec.evaluation.gates[1]")]


def test_several_problems_come_together_from_top_to_bottom(write: Write, good: str) -> None:
    path = write(good.replace("epochs: 3", "epochs: 0").replace("name: reviews", "name: Reviews"))
    with pytest.raises(ManifestInvalid) as caught:
        load_job(path)
    assert caught.value.what == "The manifest has 2 problems."
    assert [problem.where for problem in caught.value.problems] == [
        f"{path}:3:12 metadata.name",
        f"{path}:12:5 spec.training.epochs",
    ]


def test_a_file_may_hold_several_jobs(write: Write, good: str) -> None:
    path = write(f"---\n{good}---\n# nothing here\n---\n{good.replace('reviews', 'tweets')}")
    assert [job.metadata.name for job in load_jobs(path)] == ["reviews", "tweets"]
    with pytest.raises(ManifestInvalid, match="holds 2 jobs: reviews, tweets"):
        load_job(path)


def test_the_lines_of_a_second_job_are_those_of_the_file(write: Write, good: str) -> None:
    path = write(f"{good}---\n{good.replace('epochs: 3', 'epochs: 0')}")
    assert [line[:2] for line in told(path)] == [(26, "spec.training.epochs")]


def test_problems_before_a_syntax_error_are_told_too(write: Write, good: str) -> None:
    path = write(f"{good.replace('epochs: 3', 'epochs: 0')}---\na: [1\n")
    assert [line for line, _, _ in told(path)] == [12, 16]


@pytest.mark.parametrize("word", ["epochs", "learningRate"])
def test_a_doubled_field_names_both_lines(write: Write, good: str, word: str) -> None:
    path = write(f"{good}    {word}: 1\n")
    first = 12 if word == "epochs" else 13
    assert told(path) == [
        (14, f"spec.training.{word}", f"This field is given twice; the first time in line {first}.")
    ]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("", 0, "The file is empty."),
        ("# only a comment\n", 0, "The file is empty."),
        ("---\n---\n", 0, "The file is empty."),
        ("- a\n- b\n", 1, "A manifest is a mapping"),
        ("just text", 1, "A manifest is a mapping"),
        ("spec:\n\ttask: x\n", 2, "a tab"),
        ("spec: {task: x\n", 2, "This is not YAML"),
        ("spec: a: b\n", 1, "a second `:`"),
        ("a: 'x\n", 2, "This is not YAML"),
        ("a: *missing\n", 1, "undefined alias"),
        ("a: b\n\x00", 2, "The character U+0000"),
        ("a: \x07", 1, "The character U+0007"),
        ("%YAML 3.0\n---\na: b\n", 1, "This is not YAML"),
        ("a: &a [*a]\n", 1, "nested more than"),
        ("a: &a {<<: *a}\n", 0, "nested more than"),
        ("[" * 500, 0, "nested more than"),
        (b"a: b\nc: \xff\n", 2, "The file is not UTF-8: it has the byte 0xff here."),
        ("a: b\n".encode("utf-16"), 1, "The file is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), 0, "The file is larger than 1024 KiB"),
    ],
)
def test_what_is_no_manifest_is_told(write: Write, content: str | bytes, line: int, what: str) -> None:
    problems = told(write(content))
    assert any(what in problem for _, _, problem in problems), problems
    assert problems[0][0] == line


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("metadata: !!python/object:os.system {name: x}\n", "metadata", "The tag"),
        ("metadata: !secret x\n", "metadata", "The tag"),
        ("metadata: !!binary aGk=\n", "metadata", "The tag"),
        ("metadata: !!int abc\n", "metadata", "cannot be read as a value"),
        (f"metadata: {'9' * 5000}\n", "metadata", "cannot be read as a value"),
        ("? [a, b]\n: x\n", "", "The name of a field must be text."),
        ("metadata: x\nmetadata: !!int y\n", "metadata", "This field is given twice"),
        ("spec: {}\n<<: {a: 1}\n<<: {b: 2}\n", "['<<']", "This field is given twice"),
        ("<<: 3\n", "", "expected a mapping or list of mappings for merging"),
    ],
)
def test_what_a_manifest_does_not_use_is_told(write: Write, text: str, where: str, what: str) -> None:
    assert any(place == where and what in problem for _, place, problem in told(write(text)))


def test_anchors_and_merges_work(write: Write, good: str) -> None:
    text = good.replace(
        "    train: {uri: train.csv}\n    split: {validation: 0.1, test: 0.1}\n",
        "    train: &source {uri: a.csv, format: csv}\n"
        "    validation: {<<: *source, uri: b.csv}\n"
        "    test: {uri: c.csv, <<: [*source]}\n",
    )
    data = load_job(write(text)).spec.data
    assert data.validation is not None
    assert data.test is not None
    assert (data.validation.uri, data.test.uri, data.test.format) == ("b.csv", "c.csv", "csv")


def test_an_alias_bomb_is_refused_fast(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    begin = time.perf_counter()
    problems = told(write("\n".join(lines)))
    assert "values, aliases counted in" in problems[0][2]
    assert time.perf_counter() - begin < 10


def test_what_is_not_there_or_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid, match="There is no such file"):
        load_job(tmp_path / "missing.yaml")
    with pytest.raises(ManifestInvalid, match="This is a folder") as caught:
        load_job(tmp_path)
    assert caught.value.where == str(tmp_path)


@given(
    st.text(alphabet=st.sampled_from("ab:-?[]{},&*!|>'\"%@`#~ \t\n0.e<=\\"), max_size=60)
    | st.text(max_size=30)
)
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        for document in read_documents(text):
            assert document.mark_of("spec.training.epochs").line >= 1
    except UnreadableError as error:
        assert error.located.problem.what  # noqa: PT017 - unreadable text is allowed, other errors are not


@given(content=st.binary(max_size=60))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_a_check(write: Write, content: bytes) -> None:
    assert check_file(write(content)).problems
