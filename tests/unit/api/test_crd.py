"""The CustomResourceDefinition: fresh, structural, described, bounded, and of one mind with the models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from crd_cases import BROKEN, SCHEMA_BROKEN, Broken, changed, good_manifest
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from anneal_api.crd import custom_resource_definition
from anneal_api.crd_rules import CEL_RULES
from anneal_api.job import FineTuneJob
from anneal_api.rules import RULES, broken_rules, metrics_exist
from anneal_api.status import FineTuneJobStatus
from anneal_api.support import Place
from anneal_api.validation import validate
from anneal_cli.crd_command import crd
from anneal_cli.yaml_lines import read_documents

ROOT = Path(__file__).parents[3]
CHART_COPY = ROOT / "charts" / "anneal" / "files" / "crds" / "anneal.dev_finetunejobs.yaml"
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))
VERSION = custom_resource_definition()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]

Schema = dict[str, Any]

_KINDS = {"object", "array", "string", "integer", "number", "boolean"}
_KEYWORDS = {
    *("description", "type", "format", "nullable", "enum", "default", "minLength", "maxLength", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minProperties"),
    *("maxProperties", "properties", "required", "additionalProperties", "items"),
    *("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"),
    *("x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations"),
}
"""What a structural schema may say, less what it may say only in part (allOf, anyOf, oneOf, not)."""


def places(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yields each place of a schema with its path."""
    yield path, schema
    for name, property_ in schema.get("properties", {}).items():
        yield from places(property_, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from places(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from places(schema["additionalProperties"], f"{path}{{}}")


PLACES = dict(places(SCHEMA))
SPEC_PLACES = {path: schema for path, schema in PLACES.items() if path.startswith("spec")}


def with_defaults(value: Any, schema: Schema) -> Any:
    """Fills in defaults as the API server does: those of a part only where the part is there, or has one itself."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = {name: each["default"] for name, each in properties.items() if "default" in each} | value
        return {name: with_defaults(each, properties.get(name, {})) for name, each in filled.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def documents(path: Path) -> list[Any]:
    return [document.content for document in read_documents(path.read_text(encoding="utf-8"))]


def test_the_charts_copy_is_fresh() -> None:
    assert CHART_COPY.read_text(encoding="utf-8") == crd(), "the chart's CRD is stale: make crds"


def test_yaml_of_both_versions_reads_the_same() -> None:
    text = crd()
    assert yaml.safe_load(text) == YAML(typ="safe").load(text) == custom_resource_definition()
    assert "&" not in "".join(line.split("#")[0] for line in text.splitlines() if "rule:" not in line)
    assert not [line for line in text.splitlines() if line.endswith(" ")]


def unstructural(path: str, schema: Schema) -> list[str]:
    """Returns what keeps a place from being structural, by the rules of apiextensions.k8s.io/v1."""
    kind = str(schema.get("type"))
    keys = schema.get("x-kubernetes-list-map-keys", ())
    either = schema.get("x-kubernetes-int-or-string", False)
    wrong = {
        "says what may not be said": not set(schema) <= _KEYWORDS,
        "has no type, or several": (kind not in _KINDS) != either,
        "is an object and a mapping": {"properties", "additionalProperties"} <= set(schema),
        "is closed": schema.get("additionalProperties", {}) is False,
        "requires what is not there": not set(schema.get("required", ()))
        <= set(schema.get("properties", ())),
        "keeps fields of what has none": "x-kubernetes-preserve-unknown-fields" in schema
        and kind != "object",
        "is a list of nothing": (kind == "array") != ("items" in schema),
        "has keys that may be left out": not set(keys) <= set(schema.get("items", {}).get("required", ())),
        "is Kubernetes' own": path == "metadata" and schema != {"type": "object"},
        "is null by default": schema.get("default", "") is None,
        "is an item with a default": path.endswith(("[]", "{}")) and "default" in schema,
    }
    return [f"{path} {what}" for what, is_so in wrong.items() if is_so]


def test_the_schema_is_structural() -> None:
    assert [problem for path, schema in PLACES.items() for problem in unstructural(path, schema)] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/definitions/x", "type": "object"},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"type": ["string", "null"]},
        {"type": "string", "default": None},
        {"type": "object", "additionalProperties": False},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {}, "required": ["x"]},
        {"type": "string", "x-kubernetes-int-or-string": True},
        {"type": "array"},
    ],
)
def test_the_check_sees_what_is_not_structural(schema: Schema) -> None:
    assert unstructural("spec.x", schema)


def test_every_field_is_described() -> None:
    fields = [path for path in PLACES if path and path != "metadata" and not path.endswith(("[]", "{}"))]
    assert len(fields) > 100
    assert [path for path in fields if not PLACES[path].get("description", "").endswith(".")] == []
    assert [path for path in fields if "\n" in PLACES[path]["description"]] == []


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    pending = [info.annotation for info in model.model_fields.values()]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _models(kind)
        else:
            pending += getattr(kind, "__args__", ())


def test_every_field_of_every_model_is_in_it() -> None:
    models = {*_models(FineTuneJob), *_models(FineTuneJobStatus)}
    models = {model for model in models if model.__name__ not in {"FineTuneJob", "Metadata"}}
    fields = {tuple(info.alias or name for name, info in model.model_fields.items()) for model in models}
    assert fields == {
        tuple(schema["properties"]) for path, schema in PLACES.items() if path and "properties" in schema
    }
    assert all(info.description for model in models for info in model.model_fields.values())


def _is_bounded(path: str, schema: Schema) -> bool:
    if schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string"):
        return "maxLength" in schema or "enum" in schema
    if schema.get("type") == "array":
        return "maxItems" in schema
    is_open = schema["type"] == "object" and "properties" not in schema and not path.endswith(("[]", "{}"))
    return "maxProperties" in schema or not is_open


def test_every_text_list_and_map_of_the_spec_has_a_limit() -> None:
    # Without one, the API server takes the worst for granted and finds every rule too costly.
    assert [path for path, schema in SPEC_PLACES.items() if not _is_bounded(path, schema)] == []


def test_only_scores_may_be_null() -> None:
    nullable = {path for path, schema in PLACES.items() if schema.get("nullable")}
    assert nullable == {
        "status.progress.loss",
        "status.metrics{}",
        "status.gate[].candidate",
        "status.variants[].score",
        "status.versions[].score",
    }
    assert not [path for path, schema in PLACES.items() if schema.get("default", "") is None]


def test_a_default_fits_its_place() -> None:
    with_default = [path for path, schema in SPEC_PLACES.items() if "default" in schema]
    assert len(with_default) > 30
    for path in with_default:
        # Draft 4 is the one in which an exclusive limit is a flag, as in OpenAPI 3.0.
        jsonschema.Draft4Validator(SPEC_PLACES[path]).validate(SPEC_PLACES[path]["default"])


def test_the_status_has_no_defaults() -> None:
    assert not [path for path, schema in PLACES.items() if path.startswith("status") and "default" in schema]


def test_defaults_fill_what_is_left_out_and_let_no_split_appear() -> None:
    manifest = good_manifest()
    for part in ("training", "resources", "compression", "retention", "deadline"):
        del manifest["spec"][part]
    manifest["spec"]["data"] = {
        name: {"uri": f"pvc://datasets/{name}.csv"} for name in ("train", "validation", "test")
    }
    spec = with_defaults(manifest, SCHEMA)["spec"]
    assert "split" not in spec["data"]
    assert "retention" not in spec
    assert spec["data"]["columns"] == {"text": "text", "label": "label"}
    assert spec["training"]["learningRate"] == 2e-5
    assert spec["training"]["checkpoint"] == {"everyMinutes": 5}
    assert spec["resources"] == {"workers": 1, "gpusPerWorker": 0}


def _good_manifests() -> Iterator[Any]:
    yield pytest.param(good_manifest(), id="good")
    bare = changed(good_manifest(), {"spec.model": {"source": "pkg://bert/model"}})
    for part in ("training", "resources", "evaluation", "compression", "retention", "deadline", "serving"):
        del bare["spec"][part]
    yield pytest.param(bare, id="bare")
    yield pytest.param(changed(good_manifest(), {"spec.serving": {}, "spec.retention": {}}), id="empty parts")
    for path in EXAMPLES:
        for document in documents(path):
            yield pytest.param(document, id=path.stem)


@pytest.mark.parametrize("manifest", list(_good_manifests()))
def test_a_job_is_the_same_with_its_defaults_written_out(manifest: dict[str, Any]) -> None:
    plain = validate(manifest, Place.CLUSTER)
    filled = validate(with_defaults(manifest, SCHEMA), Place.CLUSTER)
    assert plain.problems == filled.problems == ()
    assert plain.job is not None
    assert plain.job == filled.job


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_for_a_cluster(path: Path) -> None:
    assert documents(path)
    for document in documents(path):
        assert validate(document, Place.CLUSTER).problems == ()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


def test_every_rule_has_a_broken_manifest() -> None:
    assert {case.rule for case in BROKEN if case.rule} == set(RULES) - {metrics_exist}


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_manifest_that_the_cluster_refuses_is_refused_here_too(case: Broken) -> None:
    assert validate(case.manifest(), Place.CLUSTER).problems
    if case.rule is not None:
        assert list(case.rule(FineTuneJob.model_validate(case.manifest()).spec))
        assert not broken_rules(FineTuneJob.model_validate(good_manifest()).spec)


@pytest.mark.parametrize("case", SCHEMA_BROKEN, ids=lambda case: case.name)
def test_a_manifest_that_breaks_the_schema_is_refused_here_too(case: Broken) -> None:
    (problem,) = {problem.where for problem in validate(case.manifest(), Place.CLUSTER).problems}
    assert problem.startswith(case.where)
    with pytest.raises(ValidationError):
        FineTuneJob.model_validate(case.manifest(), strict=True)


@pytest.mark.parametrize("rule", CEL_RULES, ids=lambda rule: f"{rule.part}: {rule.message[:40]}")
def test_a_rule_says_what_to_do_at_a_field_that_is_there(rule: Any) -> None:
    assert rule.entry() in PLACES[rule.part]["x-kubernetes-validations"]
    assert "\n" not in rule.message
    assert len(rule.message) < 2048
    field = f"{rule.part}{rule.field}".lstrip(".")
    assert field in PLACES
    # Either a colon or semicolon before the remedy, or the rule itself is the remedy.
    assert any(mark in rule.message for mark in (": ", "; "))


def test_columns_are_about_fields_that_are_there() -> None:
    columns = VERSION["additionalPrinterColumns"]
    assert [column["name"].upper() for column in columns] == [
        *("TASK", "PHASE", "PROGRESS", "SCORE", "VERSION", "TRAFFIC", "AGE", "REASON"),
    ]
    assert [column["name"] for column in columns if column.get("priority")] == ["Reason"]
    for column in columns:
        path = column["jsonPath"].lstrip(".")
        if path != "metadata.creationTimestamp":
            assert PLACES[path]["type"] == column["type"]


def test_names_are_those_that_users_type() -> None:
    definition = custom_resource_definition()
    names = definition["spec"]["names"]
    assert definition["metadata"]["name"] == "finetunejobs.anneal.dev"
    assert (names["shortNames"], names["categories"]) == (["ftj"], ["all", "anneal"])
    assert VERSION["subresources"] == {"status": {}}
