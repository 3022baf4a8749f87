"""A head is kept where it answers the labels of the data, and no layer below it starts from chance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from classifier_families import edit_json, small_config, write_base
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from anneal_api.errors import ModelNotFound
from anneal_trainer.architecture.checkpoint import classifier_config, examine
from anneal_trainer.base_model import BaseModel
from anneal_trainer.tasks.heads import output_parameters
from anneal_trainer.tasks.text_classification import TextClassification

SMALL = {"vocab_size": 64, "max_position_embeddings": 32}


def write_classifier(folder: Path, labels: list[str], family: str = "bert") -> torch.nn.Module:
    folder.mkdir(parents=True, exist_ok=True)
    config = small_config(family, **SMALL)
    config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.startswith(("classifier", "score")):
                weights.fill_(7.0)
    model.save_pretrained(folder)
    return model


def build(folder: Path, labels: list[str]) -> torch.nn.Module:
    torch.manual_seed(1)
    return TextClassification().build_model(folder, labels, dropout=0.0)


def findings(folder: Path, labels: list[str]) -> tuple[list[str], bool]:
    base = BaseModel(folder, "./base", "")
    noticed, new_head = examine(base, classifier_config(base, labels))
    return [f"{finding.level}: {finding.what}" for finding in noticed], new_head


def test_a_head_that_answers_the_labels_is_kept(tmp_path):
    write_classifier(tmp_path, ["good", "bad"])
    model = build(tmp_path, ["good", "bad"])
    assert torch.all(model.classifier.weight == 7.0)
    assert torch.all(model.classifier.bias == 7.0)
    said, new_head = findings(tmp_path, ["good", "bad"])
    assert said == ["note: The base model answers 'good', 'bad' already: its head is kept."]
    assert not new_head


@pytest.mark.parametrize(
    "labels", [["neg", "pos"], ["bad", "good"], ["Good", "Bad"], ["0", "1"], ["a", "b", "c"]]
)
@pytest.mark.parametrize("family", ["bert", "gpt2", "distilbert", "roberta"])
def test_a_head_of_other_labels_starts_anew(tmp_path, family, labels):
    write_classifier(tmp_path, ["good", "bad"], family)
    model = build(tmp_path, labels)
    for name in output_parameters(tmp_path):
        weights = model.get_parameter(name)
        assert weights.shape[0] == len(labels)
        assert weights.abs().max() < 0.2, name
    said, new_head = findings(tmp_path, labels)
    assert said[0].startswith("warning: The base model answers 'good', 'bad', and the data has ")
    assert new_head


def test_a_new_head_follows_from_the_seed(tmp_path):
    write_classifier(tmp_path, ["good", "bad"])
    one, other = (build(tmp_path, ["neg", "pos"]).classifier.weight for _ in range(2))
    assert torch.equal(one, other)


def test_a_base_without_a_head_says_nothing_of_it(tmp_path):
    write_base("bert", tmp_path, **SMALL)
    assert findings(tmp_path, ["neg", "pos"]) == ([], False)


def without(folder: Path, part: str) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor.clone() for name, tensor in weights.items() if part not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("broken", ["layer", "embeddings", "family", "width", "depth"])
def test_a_base_that_lacks_a_part_is_refused(tmp_path, broken):
    write_base("bert", tmp_path, **SMALL)
    match broken:
        case "layer":
            without(tmp_path, "layer.1.attention.self.query")
        case "embeddings":
            without(tmp_path, "position_embeddings")
        case "family":
            edit_json(tmp_path / "config.json", model_type="distilbert")
        case "width":
            edit_json(tmp_path / "config.json", intermediate_size=96)
        case "depth":
            edit_json(tmp_path / "config.json", num_hidden_layers=3)
    with pytest.raises(ModelNotFound, match="the weights do not fit"):
        findings(tmp_path, ["neg", "pos"])
    with pytest.raises(ModelNotFound, match="the weights do not fit"):
        build(tmp_path, ["neg", "pos"])


def test_a_pooler_may_be_missing_for_many_models_come_without(tmp_path):
    write_base("bert", tmp_path, **SMALL)
    without(tmp_path, "pooler")
    findings(tmp_path, ["neg", "pos"])
    build(tmp_path, ["neg", "pos"])


@pytest.mark.parametrize("with_code", [False, True])
def test_a_type_of_model_that_is_not_known_is_refused_and_its_code_never_runs(
    tmp_path, with_code, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    write_base("bert", tmp_path, **SMALL)
    code = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    edit_json(tmp_path / "config.json", model_type="new_encoder", auto_map=code if with_code else None)
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelNotFound, match="type new_encoder"):
        findings(tmp_path, ["neg", "pos"])
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_known_type_never_runs_and_is_told(tmp_path):
    write_base("bert", tmp_path, **SMALL)
    code = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    edit_json(tmp_path / "config.json", auto_map=code)
    edit_json(tmp_path / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Tok", None]})
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    said, _ = findings(tmp_path, ["neg", "pos"])
    assert any("brings code of its own, which is not run" in line for line in said)
    build(tmp_path, ["neg", "pos"])
    assert not (tmp_path / "ran").exists()


def test_an_encoder_decoder_without_its_decoder_is_refused(tmp_path):
    from transformers import T5EncoderModel

    T5EncoderModel(small_config("t5", vocab_size=64)).save_pretrained(tmp_path)
    with pytest.raises(ModelNotFound, match="decoder"):
        build(tmp_path, ["neg", "pos"])
