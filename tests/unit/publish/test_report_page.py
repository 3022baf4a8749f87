# ruff: noqa: RUF001
from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from unit.publish.sample_report import HOSTILE, sample_report

from anneal_api.report import RunReport
from anneal_trainer.publish.report_page import MATRIX_LABELS, render_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "elements are left open"
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.pieces.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def changed(report: RunReport, **changes: object) -> RunReport:
    return RunReport.model_validate(report.model_dump() | changes)


@pytest.mark.parametrize("labels", [2, 5, 20])
def test_page_holds_the_key_number_of_every_section(labels: int) -> None:
    report = sample_report(labels)
    page = Page(render_report(report))
    expected = [
        "Published as v4",
        f"{report.test.metrics['f1']:.4f}",
        "TF-IDF + logistic regression reaches 0.8123",
        "3.9× smaller than fp32 (90.9 MB)",
        "2.3× faster than fp32",
        "F1 (macro): at least 0.88",
        "spec.evaluation.gates[1]",
        "+0.0103 (−0.0015 to +0.0221)",
        "0.0312 below fp32, over maxDrop 0.01",
        "always answers the label with the most training rows",
        "375 steps of 375 planned",
        "best: epoch 2, 0.9184",
        "2e-5",
        str(report.test.confusion[0][0]),
        "Expected calibration error 0.0272",
        "test.csv:17",
        "12 rows of train.csv are in there twice",
        "Rows left out",
        "train.csv, rows 7, 9 and 19 more, column text",
        "3 min 39 s",
        "batchSize: 32",
        "AMD EPYC 7B13",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        *report.data.labels,
    ]
    missing = [each for each in expected if each not in page.text.replace("\N{NO-BREAK SPACE}", " ")]
    assert missing == []


def test_numbers_have_no_useless_digits() -> None:
    page = Page(render_report(sample_report(5)))
    assert re.findall(r"\d\.\d{6,}", page.text) == []


@pytest.mark.parametrize("hostile", [False, True])
def test_page_asks_nobody_for_anything(hostile: bool) -> None:
    page = render_report(sample_report(hostile=hostile))
    for _, attributes in Page(page).tags:
        for name in ("src", "href", "action", "srcset", "poster", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (name, value)
        assert not any(name.startswith("on") for name in attributes)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page


def test_hostile_texts_are_shown_and_not_run() -> None:
    source = render_report(sample_report(5, hostile=True, outcome="failed"))
    page = Page(source)
    assert page.all("script") == []
    assert page.all("img") == []
    assert "<script>alert('x')</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not set(source) & set(HOSTILE[-10:]) & {"\x00", "\x1b", "\u202e"}
    assert "\x00" not in source


def test_every_chart_is_well_formed_and_named_once() -> None:
    source = render_report(sample_report(20))
    charts = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
    assert len(charts) >= 10
    for chart in charts:
        titles = [each.text for each in ET.fromstring(chart).iter("title")]
        assert titles[0]
    ids = [attributes["id"] for _, attributes in Page(source).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_page_can_be_found_through_by_headings_captions_and_links() -> None:
    page = Page(render_report(sample_report()))
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("caption")) == len(page.all("table"))
    anchors = {attributes["href"] for attributes in page.all("a")}
    ids = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert anchors <= ids
    assert all("scope" in attributes for attributes in page.all("th"))


def test_private_data_shows_no_text() -> None:
    shown = Page(render_report(sample_report(private=False))).text
    hidden = Page(render_report(sample_report(private=True))).text
    assert "seductive movie" in shown
    assert "seductive movie" not in hidden
    assert "The data is marked private" in hidden
    assert "test.csv:17" in hidden


def test_failed_gate_says_what_was_missed_and_what_stays() -> None:
    report = sample_report(5, outcome="failed")
    text = Page(render_report(report)).text
    assert "Not published" in text
    assert "missed 2 of 2 bars. Version v3 stays the newest one." in text
    assert "is below the bar of 0.95" in text
    assert "Published as" not in text


def test_first_version_says_that_there_was_nothing_to_compare_with() -> None:
    text = Page(render_report(sample_report(outcome="first"))).text
    assert "Published as v1" in text
    assert "cleared the one bar that could be applied" in text
    assert "nothing was published before this run" in text


def test_a_difference_within_chance_is_called_so() -> None:
    assert "no clear difference" in Page(render_report(sample_report())).text
    assert "no clear difference" not in Page(render_report(sample_report(outcome="failed"))).text


def test_empty_sections_say_why_they_are_empty() -> None:
    report = sample_report()
    dump = report.model_dump()
    empty_test = dump["test"] | {"worst": [], "calibration": [], "confusion": [], "perClass": []}
    training = dump["training"] | {"lossCurve": [], "epochs": []}
    text = Page(
        render_report(
            changed(
                report,
                baselines=[],
                variants=[],
                stages=[],
                test=empty_test,
                training=training,
                gate=dump["gate"] | {"rows": []},
                data=dump["data"] | {"findings": [], "labels": [], "splits": {}},
            )
        )
    ).text
    for words in (
        "The manifest sets no bar",
        "No variant was made",
        "No baseline was scored",
        "there are no curves to draw",
        "there is no matrix to draw",
        "No label was scored",
        "there is no diagram to draw",
        "The model made no mistake on the test rows",
        "Preflight found nothing to remark on",
        "No stage was recorded",
    ):
        assert words in text


def test_a_run_that_was_stopped_before_publishing_is_not_called_published() -> None:
    text = Page(render_report(changed(sample_report(), version=None))).text
    assert "Not published" in text
    assert "ended before a version was written" in text


def test_a_matrix_of_very_many_labels_shows_those_with_most_mistakes() -> None:
    report = sample_report()
    names = [f"intent {index}" for index in range(60)]
    confusion = [[50 if row == column else 0 for column in range(60)] for row in range(60)]
    for row in range(30, 60):
        confusion[row][0] = row
    dump = report.model_dump()
    source = render_report(
        changed(
            report,
            data=dump["data"] | {"labels": names},
            test=dump["test"] | {"confusion": confusion, "perClass": []},
        )
    )
    matrix = source[source.index('class="matrix') : source.index("</table>", source.index('class="matrix'))]
    assert matrix.count('<th scope="row">') == MATRIX_LABELS
    assert f"{MATRIX_LABELS} of 60 labels" in source
    assert "intent 59" in matrix
    assert "intent 29<" not in matrix


def test_diverged_training_still_gives_a_page() -> None:
    report = sample_report()
    training = report.training.model_dump()
    training["lossCurve"] = [point | {"loss": float("nan")} for point in training["lossCurve"]]
    page = Page(render_report(changed(report, training=training)))
    assert "Gradient norm before clipping" in page.text
    assert "nan" not in page.text.split()


def test_same_report_gives_the_same_page() -> None:
    assert render_report(sample_report(5)) == render_report(sample_report(5))
