"""What `anneal predict` takes for texts: arguments, or lines of standard input."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from anneal_api.errors import AnnealError, ArtifactInvalid, RequestInvalid
from anneal_cli.predict_command import lines_of, predict


def piped(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def refusal(folder: Path, *texts: str) -> AnnealError:
    with pytest.raises(AnnealError) as caught:
        predict(folder, texts, as_json=False)
    return caught.value


@pytest.mark.parametrize(
    ("content", "texts", "empty"),
    [
        (b"one\ntwo\n", ["one", "two"], []),
        (b"one\r\ntwo", ["one", "two"], []),
        (b"\xef\xbb\xbfone\ntwo\n", ["one", "two"], []),
        (b"\xef\xbb\xbf\none\n", ["one"], [1]),
        (b"one\n\n \t\ntwo\n\r\n\xe2\x80\x8b\n", ["one", "two"], [2, 3, 5, 6]),
        ("a\u2028b\x85c \n".encode(), ["a\u2028b\x85c "], []),
        (b"", [], []),
        (b"\n\n", [], [1, 2]),
    ],
)
def test_a_line_is_a_text_and_empty_ones_are_counted(
    content: bytes, texts: list[str], empty: list[int]
) -> None:
    assert lines_of(io.BytesIO(content)) == (texts, empty)


def test_a_line_that_is_not_utf8_is_named() -> None:
    with pytest.raises(RequestInvalid) as caught:
        lines_of(io.BytesIO(b"one\nna\xefve\n"))
    assert str(caught.value) == (
        "standard input, line 2: The line is not UTF-8: byte 3 is 0xef. Write the texts as UTF-8."
    )


def test_empty_lines_are_told_once_and_do_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, b"one\n\ntwo\n")
    assert isinstance(refusal(tmp_path), ArtifactInvalid)  # it came to the model, which is not there
    assert capsys.readouterr().err == "Line 2 is empty and left out.\n"
    piped(monkeypatch, b"one\n" + b"\n" * 8)
    refusal(tmp_path)
    assert capsys.readouterr().err == "Lines 2, 3, 4, 5, 6 and 3 more are empty and left out.\n"


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"\xe3\x85\xa4\n"])
def test_an_input_without_any_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    piped(monkeypatch, content)
    assert refusal(tmp_path).what == "There is no text to answer."


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["good", ""], "TEXT 2: A text is empty."),
        ([" \u200b"], "TEXT: A text is empty."),
        (["na\udcefve"], "TEXT: A text is not UTF-8."),
    ],
)
def test_a_text_that_cannot_be_answered_is_named(tmp_path: Path, texts: list[str], expected: str) -> None:
    assert str(refusal(tmp_path, *texts)).startswith(expected)
