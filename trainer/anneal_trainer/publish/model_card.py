"""The model card: a version's `README.md`, with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

import html
import re
from pathlib import PurePosixPath

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from anneal_api.job import FineTuneJobSpec
from anneal_api.published import PublishedModel
from anneal_api.report import ClassScore, RunReport, VariantReport
from anneal_api.spec.data import DataSource
from anneal_trainer.publish import wording
from anneal_trainer.publish.report_page import TEMPLATES
from anneal_trainer.publish.verdict import shown_metrics

_HUB_METRICS = {"accuracy", "f1", "precision", "recall"}
"""Metrics that the hub knows by the same name."""

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]#|~])")


def render_model_card(report: RunReport, manifest: PublishedModel) -> str:
    """Returns the model card of a version.

    Args:
        report: What the run found out.
        manifest: The version's `manifest.json`; its `files` are not read, as the card is one of them.

    Returns:
        Markdown that starts with YAML front matter. The same arguments give the same text, byte for byte.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_plain,
    )
    environment.filters |= wording.FILTERS | {"code": _code, "fenced": _fenced}
    spec = FineTuneJobSpec.model_validate(manifest.spec)
    leading = report.gate.leading_metric
    card = environment.get_template("model_card.md").render(
        report=report,
        manifest=manifest,
        spec=spec,
        leading=leading,
        served=_named(report, manifest.predictor.variant),
        weakest=weakest_label(report),
        test_split=report.data.splits.get("test"),
    )
    return f"---\n{front_matter(report, manifest).to_yaml()}\n---\n\n{card}"


def front_matter(report: RunReport, manifest: PublishedModel) -> ModelCardData:
    """Returns what the hub reads of a card; the language is left out, as nothing measured it.

    Args:
        report: What the run found out.
        manifest: The version's `manifest.json`.
    """
    spec = FineTuneJobSpec.model_validate(manifest.spec)
    source = spec.data.test or spec.data.train
    metrics = [name for name in shown_metrics(report) if name in report.test.metrics]
    results = [
        EvalResult(
            task_type=report.task,
            task_name=report.task.replace("-", " ").capitalize(),
            dataset_type=_dataset_type(source),
            dataset_name=f"{report.job}: test rows",
            dataset_split="test",
            metric_type=name,
            metric_name=wording.metric_title(name),
            metric_value=round(report.test.metrics[name], 6),
        )
        for name in metrics
    ]
    return ModelCardData(
        base_model=hub_id(manifest.base_model.source, manifest.base_model.revision),
        datasets=_hub_data_sets(spec),
        eval_results=results or None,
        library_name="transformers",
        metrics=[name for name in metrics if name in _HUB_METRICS] or None,
        model_name=f"{report.job}-v{manifest.version}",
        pipeline_tag=report.task,
        tags=[
            "anneal",
            "fine-tuned",
            report.task,
            manifest.predictor.backend.value,
            manifest.predictor.variant,
        ],
    )


def hub_id(source: str, revision: str) -> str | None:
    """Returns the source where it names a model on the hub, else None.

    A path may look like a hub id; but only a hub source is resolved to a commit, 40 hexadecimal digits.
    """
    return source if _HUB_ID.fullmatch(source) and _COMMIT.fullmatch(revision) else None


def weakest_label(report: RunReport) -> ClassScore | None:
    """Returns the label with the lowest F1 on test among those that have rows there."""
    tested = [each for each in report.test.per_class if each.support]
    return min(tested, key=lambda each: each.f1, default=None)


def _named(report: RunReport, name: str) -> VariantReport | None:
    return next((each for each in report.variants if each.name == name), None)


def _dataset_type(source: DataSource) -> str:
    if source.uri.startswith("hf://"):
        return _hub_data_set(source.uri)
    return source.format.value if source.format else PurePosixPath(source.uri).suffix.lstrip(".") or "text"


def _hub_data_sets(spec: FineTuneJobSpec) -> list[str] | None:
    sources = [each for each in (spec.data.train, spec.data.validation, spec.data.test) if each]
    found = [_hub_data_set(each.uri) for each in sources if each.uri.startswith("hf://")]
    return list(dict.fromkeys(found)) or None


def _hub_data_set(uri: str) -> str:
    """Returns the OWNER/NAME in `hf://OWNER/NAME/CONFIG`; the hub's oldest data sets have a name alone."""
    return "/".join(uri.removeprefix("hf://").split("/")[:2])


def _plain(value: object) -> object:
    """Makes every text that a template puts out say itself, whatever Markdown or HTML is in it."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    signs_escaped = _MARKDOWN_SIGNS.sub(r"\\\1", wording.printable(value))
    return Markup(html.escape(signs_escaped, quote=False))  # noqa: S704 (escaped here)


def _code(text: str) -> Markup:
    """Returns the text as a code span, fenced by more backticks than it holds in a row (CommonMark 6.1)."""
    clean = wording.printable(text)
    fence = "`" * (_longest_run(clean) + 1)
    space = " " if clean.startswith("`") or clean.endswith("`") else ""
    return Markup(f"{fence}{space}{clean}{space}{fence}")  # noqa: S704 (a code span shows its text as it is)


def _fenced(text: str, language: str) -> Markup:
    """Returns the text as a code block, fenced by more backticks than it holds in a row (CommonMark 4.5)."""
    lines = "\n".join(wording.printable_line(line) for line in text.splitlines())
    fence = "`" * max(3, _longest_run(lines) + 1)
    return Markup(f"{fence}{language}\n{lines}\n{fence}")  # noqa: S704 (a code block shows its text as it is)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
