"""The rules between fields that the API server can check, in CEL: the ones of `rules.py`, and two about edits.

A manifest that breaks one is refused by `kubectl apply` on the spot. The rest, above all which metric belongs to which
task, the operator says in the job's conditions. `rules.py` stays the whole truth: it is asked again in the cluster.

Rules about a part that has a default of its own guard every field with has(): the API server holds them against that
default (`{}`) before it fills in the fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from anneal_api.job import MAX_NAME
from anneal_api.rules import DATA_PLACES, MODEL_PLACES, PLACES
from anneal_api.spec.data import Split
from anneal_api.spec.model import ModelSource
from anneal_api.uris import BUCKET_PLACE, CLAIM_PLACE, CLIMBS, CONFIG_MAP_FILE, HUB_ID, WALKS


class CelReason(StrEnum):
    """What kind of mistake a broken rule is: the reasons that the API server knows, less the one without a message."""

    INVALID = "FieldValueInvalid"
    FORBIDDEN = "FieldValueForbidden"
    REQUIRED = "FieldValueRequired"


@dataclass(frozen=True, slots=True)
class CelRule:
    """One entry of `x-kubernetes-validations`.

    Attributes:
        part: Path of the part that the rule sees as `self`; empty: the whole object.
        rule: The CEL expression. It is true where all is well.
        message: What is wrong and what to do about it, one line.
        field: Path below the part of the field that is to be mended, with a leading dot; empty: the part itself.
        reason: What kind of mistake it is.
    """

    part: str
    rule: str
    message: str
    field: str = ""
    reason: CelReason = CelReason.INVALID

    def entry(self) -> dict[str, str]:
        """Returns it as the schema has it."""
        entry = {"rule": self.rule, "message": self.message, "reason": self.reason.value}
        return entry | ({"fieldPath": self.field} if self.field else {})


def _literal(text: str) -> str:
    """Writes a regular expression as a CEL string."""
    return f"r'{text}'"


def _default(model: type[ModelSource | Split], field: str) -> str:
    value = model.model_fields[field].default
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


def _has_scheme(known: frozenset[str]) -> str:
    """Returns a regular expression for the places of these kinds that a pod can reach, and that name something."""
    return _literal(f"^(?i:{'|'.join(sorted(known - {'', 'file'}))})://+[^/]")


_NO_LOCAL_DISK = "a pod does not have the disk of the machine that the manifest is written on"
_CLAIM = "a place on a PersistentVolumeClaim is written pvc://CLAIM/PATH, and its path has no `..`"
_IS_CLAIM = _literal("^(?i:pvc)://")
_IS_CONFIG_MAP = _literal("^(?i:configmap)://")
_IS_BUCKET = _literal("^(?i:s3)://")
_OF_HUB = _literal("^(?i:hf)://")


def _claim(part: str, uri: str) -> CelRule:
    return CelRule(
        part,
        f"!self.{uri}.matches({_IS_CLAIM}) || "
        f"(self.{uri}.matches({_literal(CLAIM_PLACE)}) && !self.{uri}.matches({_literal(CLIMBS)}))",
        f"{uri}: {_CLAIM}",
        f".{uri}",
    )


def _bucket(part: str, uri: str) -> CelRule:
    return CelRule(
        part,
        f"!self.{uri}.matches({_IS_BUCKET}) || self.{uri}.matches({_literal(BUCKET_PLACE)})",
        f"{uri}: a place in a bucket is written s3://BUCKET/KEY, and a bucket's name has 3 to 63 lower-case letters, "
        "digits, dashes and dots",
        f".{uri}",
    )


def _source_rules(part: str) -> tuple[CelRule, ...]:
    return (
        CelRule(
            part,
            f"self.uri.matches({_has_scheme(DATA_PLACES)})",
            f"uri: {_NO_LOCAL_DISK}; put the data on a PersistentVolumeClaim and write pvc://CLAIM/PATH, a "
            "small file into a ConfigMap and write configmap://NAME/FILE, or use s3://BUCKET/KEY, hf://NAME or "
            "pkg://PACKAGE/PATH",
            ".uri",
        ),
        _claim(part, "uri"),
        _bucket(part, "uri"),
        CelRule(
            part,
            f"!self.uri.matches({_IS_CONFIG_MAP}) || self.uri.matches({_literal(CONFIG_MAP_FILE)})",
            "uri: a file in a ConfigMap is written configmap://NAME/FILE; a ConfigMap has no folders, and its keys are "
            "its files",
            ".uri",
        ),
        CelRule(
            part,
            f"!has(self.split) || self.uri.matches({_OF_HUB})",
            "split: only data sets of the hub (hf://) have splits; remove it",
            ".split",
            CelReason.FORBIDDEN,
        ),
        CelRule(
            part,
            f"!has(self.format) || !self.uri.matches({_OF_HUB})",
            "format: a data set of the hub knows its own format; remove it",
            ".format",
            CelReason.FORBIDDEN,
        ),
    )


def _held_out_rules(rows: str) -> tuple[CelRule, ...]:
    share = f"(has(self.split) && has(self.split.{rows}))"
    return (
        CelRule(
            "spec.data",
            f"has(self.{rows}) || {share}",
            f"no rows are named for {rows}: add `split: {{{rows}: 0.1}}` to cut them out of `train`, or name a source "
            f"in `{rows}`",
            reason=CelReason.REQUIRED,
        ),
        CelRule(
            "spec.data",
            f"!has(self.{rows}) || !{share}",
            f"the {rows} rows are given twice, as `{rows}` and as `split.{rows}`: remove one of the two",
            f".{rows}",
            CelReason.FORBIDDEN,
        ),
    )


_WHOLE = (
    CelRule(
        "",
        f"self.metadata.name.size() <= {MAX_NAME}",
        f"metadata.name has more than {MAX_NAME} characters: choose a shorter one",
    ),
    CelRule(
        "spec.task",
        "self == oldSelf",
        "task cannot be changed, because versions of one job are compared with each other: make a job with another "
        "name",
        reason=CelReason.FORBIDDEN,
    ),
    CelRule(
        "spec",
        "has(self.store) == has(oldSelf.store) && (!has(self.store) || self.store.uri == oldSelf.store.uri)",
        "store.uri cannot be changed, because versions of one job lie together: make a job with another name",
        ".store",
        CelReason.FORBIDDEN,
    ),
    CelRule(
        "spec",
        "self.training.batchSize >= self.resources.workers * "
        "(self.resources.gpusPerWorker > 0 ? self.resources.gpusPerWorker : 1)",
        "training.batchSize is less than the processes (workers times GPUs of each) that share its rows: raise it, "
        "or lower resources.workers",
        ".training.batchSize",
    ),
    CelRule(
        "spec",
        "!has(self.serving) || self.serving.maxBatchTokens >= self.training.maxLength",
        "serving.maxBatchTokens is less than training.maxLength, so that a text of full length would be refused: "
        "raise it, or lower training.maxLength",
        ".serving.maxBatchTokens",
    ),
)

_MODEL = (
    CelRule(
        "spec.model",
        f"self.source.matches({_has_scheme(MODEL_PLACES)}) || self.source.matches({_literal(HUB_ID)})",
        f"source: {_NO_LOCAL_DISK}; write OWNER/NAME for a model of the hub, pvc://CLAIM/PATH or "
        "s3://BUCKET/KEY for a folder, or pkg://PACKAGE/PATH",
        ".source",
    ),
    _claim("spec.model", "source"),
    _bucket("spec.model", "source"),
    CelRule(
        "spec.model",
        f"!has(self.revision) || self.revision == {_default(ModelSource, 'revision')} || "
        "!self.source.contains('://')",
        "revision belongs to a model of the hub, and `source` is not one: remove it",
        ".revision",
        CelReason.FORBIDDEN,
    ),
    CelRule(
        "spec.store",
        f"self.uri.matches({_has_scheme(PLACES)})",
        f"uri: {_NO_LOCAL_DISK}; put the store on a PersistentVolumeClaim and write pvc://CLAIM/PATH, or into a "
        "bucket and write s3://BUCKET/PREFIX",
        ".uri",
    ),
    _claim("spec.store", "uri"),
    _bucket("spec.store", "uri"),
    CelRule(
        "spec.store",
        f"!self.uri.matches({_IS_BUCKET}) || !self.uri.matches({_literal(WALKS)})",
        "uri: a store in a bucket is written s3://BUCKET/PREFIX, and its prefix has no `.` and no `..`",
        ".uri",
    ),
    CelRule(
        "spec.store",
        f"!has(self.secretRef) || self.uri.matches({_IS_BUCKET})",
        "secretRef is for a store in a bucket (s3://), and this one is in none: remove it",
        ".secretRef",
        CelReason.FORBIDDEN,
    ),
)

_DATA = (
    *(
        rule
        for part in ("train", "validation", "test", "evalSets[]")
        for rule in _source_rules(f"spec.data.{part}")
    ),
    *_held_out_rules("validation"),
    *_held_out_rules("test"),
    CelRule(
        "spec.data",
        "!(has(self.validation) && has(self.test) && has(self.split) && "
        f"(self.split.stratify != {_default(Split, 'stratify')} || self.split.seed != {_default(Split, 'seed')}))",
        "split has no effect, because no rows are cut out of `train`: remove it",
        ".split",
        CelReason.FORBIDDEN,
    ),
    CelRule(
        "spec.data",
        "!has(self.secretRef) || "
        f"[self.train.uri, has(self.validation) ? self.validation.uri : '', has(self.test) ? self.test.uri : '']"
        f".exists(uri, uri.matches({_IS_BUCKET}))",
        "secretRef is for data in a bucket (s3://), and there are none: remove it",
        ".secretRef",
        CelReason.FORBIDDEN,
    ),
    CelRule(
        "spec.data.split",
        "(has(self.validation) ? self.validation : 0.0) + (has(self.test) ? self.test : 0.0) < 1.0",
        "the shares for validation and test leave no rows for training: make them sum to less than 1",
    ),
    CelRule(
        "spec.data.columns",
        "!has(self.text) || !has(self.label) || self.text != self.label",
        "text and label are the same column: name the column with the label in `label`",
        ".label",
    ),
)

_QUALITY = (
    CelRule(
        "spec.evaluation.gates[]",
        "[has(self.min), has(self.max), has(self.versusIncumbent), has(self.maxGap)].exists_one(bar, bar)",
        "a gate has exactly one of min, max, versusIncumbent and maxGap: write one gate for each bar",
    ),
    CelRule(
        "spec.evaluation.gates[]",
        "has(self.slice) == has(self.maxGap)",
        "slice and maxGap belong together: add the one that is missing, or remove the other",
    ),
    CelRule(
        "spec.compression.variants",
        "self.all(one, self.exists_one(other, other.name == one.name))",
        "two variants have the same name: choose another one",
    ),
    CelRule(
        "spec.compression.variants[]",
        "self.name != 'fp32'",
        "the name fp32 is taken by the uncompressed model, which always takes part: choose another one",
        ".name",
    ),
    CelRule(
        "spec.compression.variants[]",
        "has(self.quantize) || has(self.prune) || has(self.distill)",
        "a variant without a step is the uncompressed model: add `quantize: {}`, or remove the variant",
        reason=CelReason.REQUIRED,
    ),
)

_RESOURCES = (
    CelRule(
        "spec.resources",
        "!has(self.minWorkers) || !has(self.workers) || self.minWorkers <= self.workers",
        "minWorkers is more than workers: lower it, or raise workers",
        ".minWorkers",
    ),
    CelRule(
        "spec.resources.tolerations[]",
        "has(self.key) || self.operator == 'Exists'",
        "a toleration names a taint: add `key`, or `operator: Exists` to accept every taint",
        reason=CelReason.REQUIRED,
    ),
    CelRule(
        "spec.resources.tolerations[]",
        "self.operator != 'Exists' || !has(self.value) || self.value == ''",
        "`operator: Exists` accepts every value: remove value, or write `operator: Equal`",
        ".value",
        CelReason.FORBIDDEN,
    ),
    CelRule(
        "spec.resources.tolerations[]",
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "only a NoExecute taint is tolerated for a time: remove tolerationSeconds, or add `effect: NoExecute`",
        ".tolerationSeconds",
        CelReason.FORBIDDEN,
    ),
)

_SERVING = (
    CelRule(
        "spec.serving.replicas",
        "!has(self.min) || !has(self.max) || self.min <= self.max",
        "min is more than max: raise max, or lower min",
        ".min",
    ),
    CelRule(
        "spec.rollout.steps",
        "self[0] >= 1 && self[self.size() - 1] == 100 && self.isSorted() && "
        "self.all(one, self.exists_one(other, other == one))",
        "steps are rising percentages from 1 to 100, the last one 100: write for example [10, 50, 100]",
    ),
)

CEL_RULES: tuple[CelRule, ...] = (*_WHOLE, *_MODEL, *_DATA, *_QUALITY, *_RESOURCES, *_SERVING)
"""All rules."""
