"""A trial is made once for a shape, and again whenever anything that decides it is another."""

from __future__ import annotations

import pytest
from classifier_families import small_config

from anneal_api.errors import ModelNotFound
from anneal_api.published import PredictorConfig
from anneal_trainer.architecture import memory
from anneal_trainer.architecture.traits import Traits

FOUND = Traits(pads=False, longest=12)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def predictor(max_length: int = 32, labels: tuple[str, ...] = ("neg", "pos")) -> PredictorConfig:
    return PredictorConfig.model_validate(
        {
            "task": "text-classification",
            "labels": list(labels),
            "codec": {"maxLength": max_length, "padTokenId": 0, "inputs": ["input_ids", "attention_mask"]},
            "backend": "torch",
            "modelFile": "model.safetensors",
            "variant": "torch",
        }
    )


def never() -> Traits:
    pytest.fail("it was tried again")


def test_the_same_shape_is_tried_once_whatever_the_labels_are_called():
    config = small_config("bert")
    assert memory.remembered(config, predictor(), lambda: FOUND) == FOUND
    config.id2label, config._name_or_path = {0: "good", 1: "bad"}, "elsewhere"
    assert memory.remembered(config, predictor(labels=("good", "bad")), never) == FOUND


@pytest.mark.parametrize("other", ["config", "length", "labels", "libraries", "revision"])
def test_whatever_decides_it_is_asked_anew(other, monkeypatch):
    config, asked = small_config("bert"), predictor()
    memory.remembered(config, asked, lambda: FOUND)
    match other:
        case "config":
            config.hidden_act = "relu"
        case "length":
            asked = predictor(33)
        case "labels":
            asked = predictor(labels=("a", "b", "c"))
        case "libraries":
            monkeypatch.setattr(memory, "library_versions", dict)
        case "revision":
            monkeypatch.setattr(memory, "_REVISION", 0)
    assert memory.remembered(config, asked, Traits) == Traits()


def test_a_refusal_is_not_remembered():
    def refuse() -> Traits:
        raise ModelNotFound("no")

    with pytest.raises(ModelNotFound):
        memory.remembered(small_config("bert"), predictor(), refuse)
    assert memory.remembered(small_config("bert"), predictor(), lambda: FOUND) == FOUND


def test_a_cache_that_is_damaged_or_cannot_be_written_costs_time_alone(cache, monkeypatch):
    memory.remembered(small_config("bert"), predictor(), lambda: FOUND)
    for path in cache.rglob("*.json"):
        path.write_text("{")
    assert memory.remembered(small_config("bert"), predictor(), Traits) == Traits()
    cache.joinpath("file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    assert memory.remembered(small_config("bert"), predictor(), lambda: FOUND) == FOUND
