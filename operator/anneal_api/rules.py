"""What a manifest must fulfil beyond the type and range of each field.

A rule sees a spec whose fields are all well-formed and yields one Problem for each thing to mend. The first
line of its docstring is what docs/manifest.md says about it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

from anneal_api.errors import Problem
from anneal_api.job import FineTuneJobSpec
from anneal_api.metrics import METRICS
from anneal_api.spec.data import DataSource, Split
from anneal_api.spec.evaluation import Gate
from anneal_api.spec.model import ModelSource
from anneal_api.spec.resources import TaintEffect, TolerationOperator
from anneal_api.suggestions import closest, short
from anneal_api.uris import BUCKET_PLACE, CLAIM_PLACE, CLIMBS, CONFIG_MAP_FILE, WALKS, scheme_of

Rule = Callable[[FineTuneJobSpec], Iterator[Problem]]

PLACES = frozenset({"", "file", "pvc", "s3", "gs"})
"""The schemes of a store; an empty one is a path."""
MODEL_PLACES = PLACES | {"pkg"}
"""The schemes of a base model; an empty one is a path or a hub id."""
DATA_PLACES = PLACES | {"configmap", "pkg", "hf"}
"""The schemes of a data source."""

_FULL_TRAFFIC = 100


def places_are_known(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """The model, the store and the data lie in a kind of place that anneal knows."""
    for path, uri, known in _places(spec):
        scheme = scheme_of(uri)
        rest = uri.partition("://")[2]
        if scheme not in known:
            schemes = ", ".join(f"`{name}://`" for name in sorted(known) if name)
            remedy = f"Use a path or {schemes}."
            if scheme == "hf":
                remedy += " Write a model of the hub without a scheme: `NAME` or `OWNER/NAME`."
            yield Problem(f"Places like `{scheme}://` are not known here.", path, remedy)
        elif scheme == "file" and not rest.startswith("/"):
            absolute = "Write three slashes and an absolute path: `file:///data/reviews.csv`."
            yield Problem(f"{short(uri)} is not a place on this machine.", path, absolute)
        elif scheme and not rest.strip("/"):
            yield Problem(f"{short(uri)} names no place.", path, f"Add what lies behind `{scheme}://`.")


def claims_have_names(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`pvc://CLAIM/PATH` names a PersistentVolumeClaim, and its path does not lead out of it."""
    for path, uri, _ in _places(spec):
        rest = uri.partition("://")[2]
        if scheme_of(uri) != "pvc" or not rest.strip("/"):
            continue
        if not re.search(CLAIM_PLACE, uri):
            remedy = "Write `pvc://CLAIM/PATH`; a claim's name has lower-case letters, digits and dashes."
            yield Problem(f"{short(uri)} names no PersistentVolumeClaim.", path, remedy)
        elif re.search(CLIMBS, rest):
            yield Problem(f"{short(uri)} leads out of its claim.", path, "Leave `..` out of the path.")


def config_maps_have_files(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`configmap://NAME/FILE` names a ConfigMap and one of its keys."""
    for path, source in _sources(spec):
        rest = source.uri.partition("://")[2]
        if scheme_of(source.uri) != "configmap" or not rest.strip("/"):
            continue
        if not re.search(CONFIG_MAP_FILE, source.uri):
            remedy = "Write `configmap://NAME/FILE`; a ConfigMap has no folders, and its keys are its files."
            yield Problem(f"{short(source.uri)} names no file in a ConfigMap.", f"{path}.uri", remedy)


def buckets_have_names(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`s3://BUCKET/KEY` names a bucket; the prefix of a store in one has no `.` and no `..`."""
    for path, uri, _ in _places(spec):
        rest = uri.partition("://")[2]
        if scheme_of(uri) != "s3" or not rest.strip("/"):
            continue
        if not re.search(BUCKET_PLACE, uri):
            remedy = "Write `s3://BUCKET/KEY`; a bucket's name has 3 to 63 lower-case letters, digits, dashes and dots."
            yield Problem(f"{short(uri)} names no bucket.", path, remedy)
        elif path == "spec.store.uri" and re.search(WALKS, rest):
            # Pods keep a copy of a store as folders, where these names would lead elsewhere.
            yield Problem(f"{short(uri)} is no prefix for a store.", path, "Leave `.` and `..` out of it.")


def secrets_open_buckets(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`data.secretRef` is given only where data lie in a bucket, `store.secretRef` only where the store does."""
    of_buckets = any(scheme_of(source.uri) == "s3" for _, source in _sources(spec))
    if spec.data.secret_ref is not None and not of_buckets:
        what = "The Secret is for data in a bucket, and there are none."
        yield Problem(what, "spec.data.secretRef", "Remove it.")
    store = spec.store
    if store is not None and store.secret_ref is not None and scheme_of(store.uri) != "s3":
        what = "The Secret is for a store in a bucket, and this one is in none."
        yield Problem(what, "spec.store.secretRef", "Remove it.")


def only_the_hub_has_revisions(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`model.revision` is given only for a model of the hub."""
    source = spec.model.source
    of_hub = not scheme_of(source) and not source.startswith(("/", "./", "../"))
    # The API server writes defaults out, so a field at its default may as well have been left out.
    if spec.model.revision != ModelSource.model_fields["revision"].default and not of_hub:
        what = "A revision belongs to a model of the hub, and `source` is not one."
        yield Problem(what, "spec.model.revision", "Remove it.")


def sources_use_their_fields(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """A data source's `split` is given only for `hf://`, its `format` only for files."""
    for path, source in _sources(spec):
        of_hub = scheme_of(source.uri) == "hf"
        if source.split is not None and not of_hub:
            what = "Only data sets of the hub have splits."
            yield Problem(what, f"{path}.split", "Remove it, or use `hf://`.")
        if source.format is not None and of_hub:
            yield Problem("A data set of the hub knows its own format.", f"{path}.format", "Remove it.")


def held_out_rows_have_one_source(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """Validation and test rows come each from exactly one place: a source, or a share of `train`."""
    data = spec.data
    parts: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    given = {part: (getattr(data, part) is not None, getattr(data.split, part) is not None) for part in parts}
    missing = [part for part in parts if not any(given[part])]
    if missing:
        example = ", ".join(f"{part}: 0.1" for part in missing)
        sources = " and ".join(f"`data.{part}`" for part in missing)
        what = f"No rows are named for {' and '.join(missing)}."
        remedy = f"Add `split: {{{example}}}` to cut them out of `train`, or name sources in {sources}."
        yield Problem(what, "spec.data", remedy)
    for part in parts:
        if all(given[part]):
            what = f"The {part} rows are given twice, as `data.{part}` and as `data.split.{part}`."
            yield Problem(what, f"spec.data.split.{part}", "Remove one of the two.")


def split_is_used(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`data.split` names a share, or is left out."""
    split = spec.data.split
    if split.validation is None and split.test is None and spec.data.validation and spec.data.test:
        for name in ("seed", "stratify"):
            if getattr(split, name) != Split.model_fields[name].default:
                what = "This has no effect: no rows are cut out of `train`."
                yield Problem(what, f"spec.data.split.{name}", "Remove `split`.")


def split_leaves_training_rows(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """The shares of `data.split` sum to less than 1."""
    total = (spec.data.split.validation or 0) + (spec.data.split.test or 0)
    if total >= 1:
        what = f"The shares for validation and test sum to {total:g}; no rows are left for training."
        yield Problem(what, "spec.data.split", "Make them sum to less than 1, for example 0.1 each.")


def columns_differ(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """Text and label are different columns."""
    columns = spec.data.columns
    if columns.text == columns.label:
        what = f"Text and label are the same column, {short(columns.text)}."
        yield Problem(what, "spec.data.columns", "Name the column with the label in `label`.")


def metrics_exist(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """Every metric named is one that the task is scored with."""
    known = METRICS.get(spec.task)
    if known is None:
        return
    scores, part = spec.evaluation, "spec.evaluation"
    named = [(f"{part}.metrics[{index}]", name) for index, name in enumerate(scores.metrics)]
    named += [(f"{part}.gates[{index}].metric", gate.metric) for index, gate in enumerate(scores.gates)]
    if spec.training.early_stopping is not None and spec.training.early_stopping.metric is not None:
        named.append(("spec.training.earlyStopping.metric", spec.training.early_stopping.metric))
    if spec.tuning is not None and spec.tuning.metric is not None:
        named.append(("spec.tuning.metric", spec.tuning.metric))
    for path, name in named:
        if name not in known:
            meant = closest(name, list(known))
            choices = ", ".join(f"`{word}`" for word in known)
            remedy = f"Did you mean `{meant}`?" if meant else f"Use one of {choices}."
            yield Problem(f"The task `{spec.task}` has no metric {short(name)}.", path, remedy)


def gates_name_one_bar(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """A gate has exactly one of `min`, `max`, `versusIncumbent`, `maxGap`; `slice` only with `maxGap`."""
    for index, gate in enumerate(spec.evaluation.gates):
        path = f"spec.evaluation.gates[{index}]"
        bars = _bars(gate)
        if not bars:
            remedy = "Add one of `min`, `max` and `versusIncumbent`, for example `min: 0.9`."
            yield Problem("The gate has no bar.", path, remedy)
        elif len(bars) > 1:
            names = " and ".join(f"`{name}`" for name in bars)
            yield Problem(f"The gate has {len(bars)} bars: {names}.", path, "Write one gate for each.")
        if gate.max_gap is not None and gate.slice is None:
            what = "`maxGap` compares groups, and no column names them."
            yield Problem(what, f"{path}.maxGap", "Add `slice` with the column's name.")
        if gate.slice is not None and gate.max_gap is None:
            yield Problem("`slice` is used by `maxGap` only.", f"{path}.slice", "Remove it, or add `maxGap`.")


def variants_are_distinct(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """Variants have different names, none is `fp32`, and each has at least one step."""
    variants = spec.compression.variants
    uses = Counter(variant.name for variant in variants)
    seen: set[str] = set()
    for index, variant in enumerate(variants):
        path = f"spec.compression.variants[{index}]"
        if variant.name == "fp32":
            what = "The name `fp32` is taken by the uncompressed model, which always takes part."
            yield Problem(what, f"{path}.name", "Choose another name.")
        elif uses[variant.name] > 1 and variant.name in seen:
            what = f"Two variants have the name `{variant.name}`."
            yield Problem(what, f"{path}.name", "Choose another name.")
        seen.add(variant.name)
        if variant.quantize is None and variant.prune is None and variant.distill is None:
            what = f"The variant `{variant.name}` has no step, so it is the uncompressed model."
            yield Problem(what, path, "Add `quantize: {}`, or remove the variant.")


def batch_reaches_every_process(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`training.batchSize` has at least one row for each process (a worker's GPUs, or one on CPU)."""
    processes = spec.resources.workers * max(1, spec.resources.gpus_per_worker)
    if spec.training.batch_size < processes:
        what = f"A step of {spec.training.batch_size} rows cannot be shared by {processes} processes."
        remedy = f"Make it at least {processes}, or ask for fewer workers in `spec.resources`."
        yield Problem(what, "spec.training.batchSize", remedy)


def workers_are_ordered(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`resources.minWorkers` is at most `resources.workers`."""
    fewest = spec.resources.min_workers
    if fewest is not None and fewest > spec.resources.workers:
        what = f"{fewest} is more than `workers`, which is {spec.resources.workers}."
        yield Problem(what, "spec.resources.minWorkers", "Lower it, or raise `workers`.")


def tolerations_are_a_pods(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """A toleration has a `key` or `operator: Exists`, which goes without `value`; seconds only for `NoExecute`."""
    for index, toleration in enumerate(spec.resources.tolerations):
        path = f"spec.resources.tolerations[{index}]"
        exists = toleration.operator is TolerationOperator.EXISTS
        if toleration.key is None and not exists:
            what = "The toleration names no taint."
            yield Problem(what, path, "Add `key`, or `operator: Exists` to accept every taint.")
        if exists and toleration.value:
            what = "`operator: Exists` accepts every value."
            yield Problem(what, f"{path}.value", "Remove `value`, or write `operator: Equal`.")
        if toleration.toleration_seconds is not None and toleration.effect is not TaintEffect.NO_EXECUTE:
            what = "Only a `NoExecute` taint is tolerated for a time."
            yield Problem(what, f"{path}.tolerationSeconds", "Remove it, or add `effect: NoExecute`.")


def replicas_are_ordered(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`serving.replicas.min` is at most `serving.replicas.max`."""
    if spec.serving is not None and spec.serving.replicas.min > spec.serving.replicas.max:
        replicas = spec.serving.replicas
        what = f"`min` is {replicas.min}, which is more than `max`, {replicas.max}."
        yield Problem(what, "spec.serving.replicas", "Raise `max`, or lower `min`.")


def full_length_texts_are_answered(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`serving.maxBatchTokens` lets one text of `training.maxLength` tokens in."""
    longest = spec.training.max_length
    if spec.serving is not None and spec.serving.max_batch_tokens < longest:
        what = f"A text of `training.maxLength` ({longest}) tokens would be refused."
        remedy = f"Make it at least {longest}, or lower `maxLength`."
        yield Problem(what, "spec.serving.maxBatchTokens", remedy)


def rollout_rises_to_all_traffic(spec: FineTuneJobSpec) -> Iterator[Problem]:
    """`rollout.steps` rise and end in 100."""
    if spec.rollout is None:
        return
    steps = spec.rollout.steps
    rising = all(lower < higher for lower, higher in pairwise(steps))
    if not rising or steps[0] < 1 or steps[-1] != _FULL_TRAFFIC:
        remedy = "Write rising percentages from 1 to 100, the last one 100, for example [10, 50, 100]."
        yield Problem(f"The steps {short(steps)} do not rise to 100 percent.", "spec.rollout.steps", remedy)


RULES: tuple[Rule, ...] = (
    places_are_known,
    claims_have_names,
    config_maps_have_files,
    buckets_have_names,
    secrets_open_buckets,
    only_the_hub_has_revisions,
    sources_use_their_fields,
    held_out_rows_have_one_source,
    split_is_used,
    split_leaves_training_rows,
    columns_differ,
    metrics_exist,
    gates_name_one_bar,
    variants_are_distinct,
    batch_reaches_every_process,
    workers_are_ordered,
    tolerations_are_a_pods,
    replicas_are_ordered,
    full_length_texts_are_answered,
    rollout_rises_to_all_traffic,
)
"""All rules, in the order in which their problems are told."""


def broken_rules(spec: FineTuneJobSpec) -> list[Problem]:
    """Returns the problems that all rules together find."""
    return [problem for rule in RULES for problem in rule(spec)]


def _places(spec: FineTuneJobSpec) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yields path, uri and known schemes of each place that the spec names."""
    yield "spec.model.source", spec.model.source, MODEL_PLACES
    if spec.store is not None:
        yield "spec.store.uri", spec.store.uri, PLACES
    yield from ((f"{path}.uri", source.uri, DATA_PLACES) for path, source in _sources(spec))


def _sources(spec: FineTuneJobSpec) -> Iterator[tuple[str, DataSource]]:
    named = {"train": spec.data.train, "validation": spec.data.validation, "test": spec.data.test}
    yield from ((f"spec.data.{name}", source) for name, source in named.items() if source is not None)


def _bars(gate: Gate) -> list[str]:
    bars = {
        "min": gate.min,
        "max": gate.max,
        "versusIncumbent": gate.versus_incumbent,
        "maxGap": gate.max_gap,
    }
    return [name for name, value in bars.items() if value is not None]
