"""The way of one job: preflight, prepare, train, evaluate, compress, gate, publish.

The seven stages are three parts, cut where a cluster cuts them: `prepare` needs a CPU and comes before any GPU is asked
for, `train` needs gradients, `finish` belongs on the hardware that will serve. Every stage is kept under the content
hash of its inputs, so that a run that was killed, repeated or edited does only what does not hold any more. A stage
loads the libraries that it needs when it runs: a run that reuses everything loads neither torch nor Ray.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

import numpy as np

from anneal_api.errors import AnnealError
from anneal_api.job import FineTuneJob
from anneal_api.published import PredictorConfig
from anneal_api.report import DataSummary, GateReport, RunReport
from anneal_serving.artifact import Artifact
from anneal_serving.codecs import codec_for
from anneal_serving.predictor import Predictor
from anneal_trainer import base_model, handover, stage_keys
from anneal_trainer.architecture.traits import TRAITS_FILE, Traits
from anneal_trainer.compress.variant import Variant, open_variants
from anneal_trainer.data import prepared
from anneal_trainer.data.estimate import Machine
from anneal_trainer.data.preflight import SUMMARY_FILE
from anneal_trainer.data.prepared import PreparedData
from anneal_trainer.data.rows import Splits, digest
from anneal_trainer.data.splits import load_splits
from anneal_trainer.engine.plan import TrainingPlan, WorkerGroup
from anneal_trainer.environment import usable_cores
from anneal_trainer.evaluate.judgement import judge
from anneal_trainer.evaluate.scores import score
from anneal_trainer.evaluate.selection import selection_metric, shown_metrics
from anneal_trainer.observer import Observer
from anneal_trainer.outcome import Outcome
from anneal_trainer.publish.report_page import render_report
from anneal_trainer.publish.run_report import BASELINES, VARIANTS, gather, training_record
from anneal_trainer.publish.store import JobStore
from anneal_trainer.publish.version import REPORT_FILE, RUN_FILE, write_version
from anneal_trainer.remote.mirror import Mirror
from anneal_trainer.remote.training_inputs import TrainingInputs
from anneal_trainer.stages import Stage, StageFolder, StageResult, file_digest
from anneal_trainer.weights import WEIGHTS_FILE

_PREDICTOR_FILE = "predictor.json"
_TRAINING_FILE = "training.json"  # written last


class Pipeline:
    """One job's stages.

    Args:
        job: The validated manifest.
        base_folder: Folder that the manifest's relative paths start from.
        work: Root of the folders in which stages keep their results.
        store: Root of the model store.
        group: What to train on.
        ray_session: Starts the Ray that training runs on, and stops it; entered only if there is something to train.
        observer: Who watches.
        mirror: Keeps store and work folder, both below its root, in a bucket; None: every machine of the job sees
            the same folders.
        machine: What training runs on, for preflight's estimate; None: this machine, measured.
    """

    def __init__(
        self,
        job: FineTuneJob,
        *,
        base_folder: Path,
        work: Path,
        store: Path,
        group: WorkerGroup,
        ray_session: Callable[[WorkerGroup], AbstractContextManager[None]],
        observer: Observer,
        mirror: Mirror | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.job = job
        self.spec = job.spec
        self.base_folder = base_folder
        self.versions = JobStore.of(store.absolute(), job.metadata, mirror)
        self.stages = StageFolder(
            work.absolute() / job.metadata.namespace / self.versions.folder.name, mirror
        )
        self.group = group
        self.ray_session = ray_session
        self.observer = observer
        self.machine = machine
        self.results: dict[str, StageResult] = {}

    def run(self, *, fresh: bool = False) -> Outcome:
        """Runs what does not hold any more, and returns what came out.

        Args:
            fresh: Forget the results of earlier runs first. Published versions stay.

        Raises:
            AnnealError: Something that a person can mend; what was done until then is kept.
        """
        with self.stages.locked():
            if fresh:
                self.stages.clear()
            self.prepare()
            self.train()
            return self.finish()

    def prepare(self) -> None:
        """Looks at the data and tokenizes it: everything that can go wrong before a GPU is asked for."""
        identity = self.base.revision, self.data_digest
        dropped = [each.record for each in self.splits.left_out]
        processes = self.group.processes
        seen = self._run(
            stage_keys.preflight(self.spec, *identity, dropped=dropped, processes=processes), self._preflight
        )
        self.observer.found(DataSummary.model_validate_json((seen.folder / SUMMARY_FILE).read_bytes()))
        self._run(stage_keys.prepare(self.spec, *identity), self._prepare)
        self._hand_over()

    def train(self) -> None:
        """Trains.

        Raises:
            AnnealError: Data, model or training are at fault.
        """
        if "prepare" not in self.results and not (self._recall() and self._base_is_still_there()):
            self.prepare()
        self._run(stage_keys.train(self.spec, self.base.revision, self.results, self._traits()), self._train)
        self._hand_over()

    def finish(self) -> Outcome:
        """Evaluates, makes variants, reads the gate, and publishes what clears it.

        Raises:
            AnnealError: There is no trained model, or a stage failed.
        """
        if "train" not in self.results:
            self._recall_trained()
        self._run(stage_keys.evaluate(self.spec, self.results), self._evaluate)
        self._run(stage_keys.compress(self.spec, self.results), self._compress)
        incumbent = self._incumbent()
        self._run(
            stage_keys.gate(self.spec, self.results, incumbent.manifest if incumbent else None),
            lambda folder: self._gate(folder, incumbent),
        )
        return self._publish(incumbent)

    @cached_property
    def base(self) -> base_model.BaseModel:
        """The base model, resolved to a folder and a revision."""
        return base_model.resolve(self.spec.model, base_folder=self.base_folder)

    @cached_property
    def splits(self) -> Splits:
        """The rows."""
        return load_splits(self.spec.data, base_folder=self.base_folder)

    @cached_property
    def data_digest(self) -> str:
        """Digest over all rows."""
        return digest(self.splits)

    @property
    def shown_metrics(self) -> list[str]:
        """Metrics to show, the leading one first."""
        return shown_metrics(self.spec.task, self.spec.evaluation)

    @cached_property
    def data(self) -> PreparedData:
        """The tokenized rows."""
        return PreparedData.open(self.results["prepare"].folder)

    @property
    def trained_folder(self) -> Path:
        """The trained model."""
        return self.results["train"].folder / "model"

    @cached_property
    def parent_config(self) -> PredictorConfig:
        """How the trained model answers in torch."""
        path = self.results["prepare"].folder / _PREDICTOR_FILE
        return PredictorConfig.model_validate_json(path.read_text(encoding="utf-8"))

    @property
    def candidate(self) -> str:
        """What identifies the trained and compressed files, wherever and whenever they were made."""
        variants = [variant.model_dump(mode="json") for variant in self.spec.compression.variants]
        identity = [file_digest(self.trained_folder / WEIGHTS_FILE), variants]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _run(self, stage: Stage, build: Callable[[Path], None]) -> StageResult:
        self.observer.started(stage.name)
        result = self.stages.complete(stage, build)
        self.results[stage.name] = result
        self.observer.finished(result)
        return result

    def _hand_over(self) -> None:
        handover.write(self.stages, self.spec, self.group.processes, self.base, self.results.values())

    def _recall(self) -> bool:
        """Takes over what the parts before left in another process; returns whether the prepared rows still hold."""
        left = handover.read(self.stages, self.spec, self.group.processes)
        if left is None or not {"preflight", "prepare"} <= left.results.keys():
            return False
        self.base = left.base
        self.results.update(left.results)
        return True

    def _base_is_still_there(self) -> bool:
        before = self.base.revision
        self.base = base_model.resolve(
            base_model.pinned(self.spec.model, before), base_folder=self.base_folder
        )
        return self.base.revision == before

    def _recall_trained(self) -> None:
        if not self._recall():
            self.prepare()  # it costs little, and only if the rows are still the same is there a trained model
        stage = stage_keys.train(self.spec, self.base.revision, self.results, self._traits())
        left = self.results.get("train")
        found = left if left and left.key == stage.key else self.stages.find(stage)
        if found is None:
            raise AnnealError(
                "The trained model is not in the work folder any more, or it was altered.",
                where=str(self.stages.root),
                remedy="Train anew: change the job's spec, or delete the job and apply it again.",
            )
        self.results["train"] = found

    def _preflight(self, folder: Path) -> None:
        from anneal_trainer.preflight_stage import look

        look(
            folder,
            base=self.base,
            spec=self.spec,
            splits=self.splits,
            processes=self.group.processes,
            machine=self.machine,
        )

    def _prepare(self, folder: Path) -> None:
        base_model.tokenizer_files(self.base, folder)
        labels = prepared.label_order(self.splits, self.base)
        config = base_model.predictor_config(self.base, self.spec, labels, WEIGHTS_FILE)
        _write(folder / _PREDICTOR_FILE, config.model_dump_json(indent=1))
        prepared.write_prepared(folder, self.splits, codec_for(folder, config), labels)

    def _train(self, folder: Path) -> None:
        from anneal_trainer.engine.launch import run_training

        if (folder / _TRAINING_FILE).exists():  # a run that was stopped when the training was whole
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            return
        prepared_folder = self.results["prepare"].folder
        inputs = TrainingInputs.of(
            self.stages, prepared=prepared_folder, base=self.base, checkpoints=folder / "checkpoints"
        )
        plan = TrainingPlan(
            base=inputs.base,
            prepared=prepared_folder,
            predictor=self.parent_config,
            training=self.spec.training,
            selection_metric=selection_metric(self.spec),
            threads=self.group.threads_per_process,
            pads=self._traits().pads,
            pad_token_id=base_model.published_padding(self.base),
        )
        with self.ray_session(self.group):
            trained = run_training(
                plan,
                self.group,
                name="run",
                storage=inputs.checkpoints,
                home=folder / "model",
                bring=inputs.bring,
                show=self.observer.progressed,
            )
        base_model.tokenizer_files(self.base, folder / "model")
        record = training_record(
            trained.state, plan, processes=self.group.processes, train_rows=len(self.data.train)
        )
        _write(folder / _TRAINING_FILE, record.model_dump_json(indent=1))
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def _evaluate(self, folder: Path) -> None:
        from anneal_trainer.evaluate.baselines import baselines

        rows = self.data.validation.rows()
        with Predictor.load(self.trained_folder, self.parent_config, threads=usable_cores()) as predictor:
            logits = predictor.logits(rows.texts)
        np.save(folder / "validation-logits.npy", logits)
        scores = score(
            logits,
            self.data.validation.labels,
            labels=self.data.labels,
            shown=self.shown_metrics,
            rows=rows,
            private=self.spec.data.private,
        )
        _write(folder / "validation.json", scores.model_dump_json(indent=1))
        simple = baselines(self.data.train.rows(), rows, self.data.test.rows(), self.data.labels)
        _write(folder / "baselines.json", BASELINES.dump_json(simple, indent=1).decode())

    def _compress(self, folder: Path) -> None:
        from anneal_trainer.compress.variants import make_variants

        make_variants(
            folder,
            trained=self.trained_folder,
            parent=self.parent_config,
            compression=self.spec.compression,
            texts=self.data.validation.rows().texts,
            parent_logits=np.load(self.results["evaluate"].folder / "validation-logits.npy"),
        )

    def _incumbent(self) -> Artifact | None:
        """The version to beat: the newest one, or what it had to beat itself where it is this very candidate."""
        newest = self.versions.latest()
        if newest is None or newest.manifest.candidate != self.candidate:
            return newest
        before = newest.manifest.incumbent
        if before is None or before not in self.versions.versions():
            return None
        return Artifact.open(self.versions.brought(before))

    def _gate(self, folder: Path, incumbent: Artifact | None) -> None:
        judgement = judge(
            self._variants(),
            data=self.data,
            spec=self.spec,
            shown=self.shown_metrics,
            incumbent=incumbent,
        )
        np.save(folder / "test-logits.npy", judgement.test_logits)
        _write(folder / "test.json", judgement.test.model_dump_json(indent=1))
        _write(folder / "gate.json", judgement.gate.model_dump_json(indent=1))
        _write(
            folder / "variants.json",
            VARIANTS.dump_json(judgement.variants, indent=1).decode(),
        )

    def _publish(self, incumbent: Artifact | None) -> Outcome:
        if not self._gate_report().passed:
            report = self._report(version=None)
            page = self.stages.root / "report.html"
            page.write_text(render_report(report), encoding="utf-8")
            self.stages.keep_file(page)
            return Outcome(report, None, page)
        stage = stage_keys.publish(self.spec, self.results, self.versions.place)
        earlier = self.stages.find(stage)
        if earlier is not None and not self._is_published(earlier):
            self.stages.forget(earlier)  # somebody emptied the store: publish again
        result = self._run(stage, lambda folder: self._write_version(folder, incumbent))
        published = self.versions.brought(_published_version(result))
        report = RunReport.model_validate_json((published / RUN_FILE).read_bytes())
        return Outcome(report, published, published / REPORT_FILE)

    def _is_published(self, result: StageResult) -> bool:
        return _published_version(result) in self.versions.versions()

    def _write_version(self, folder: Path, incumbent: Artifact | None) -> None:
        def fill(target: Path, version: int) -> None:
            report = self._report(version=version)
            selected = next(v for v in self._variants() if v.name == report.gate.selected)
            write_version(
                target,
                version=version,
                job=self.job,
                report=report,
                trained=self.trained_folder,
                variant=selected,
                data=self.data,
                test_logits=np.load(self.results["gate"].folder / "test-logits.npy"),
                candidate=self.candidate,
                incumbent=incumbent.manifest.version if incumbent else None,
            )

        version, _ = self.versions.publish(fill)
        _write(folder / "published.json", json.dumps({"version": version}))

    def _traits(self) -> Traits:
        path = self.results["preflight"].folder / TRAITS_FILE
        # An earlier release, whose preflight a job under way goes on from, wrote none.
        return Traits.model_validate_json(path.read_bytes()) if path.exists() else Traits()

    def _variants(self) -> list[Variant]:
        return open_variants(self.results["compress"].folder)

    def _gate_report(self) -> GateReport:
        return GateReport.model_validate_json((self.results["gate"].folder / "gate.json").read_bytes())

    def _report(self, *, version: int | None) -> RunReport:
        return gather(
            self.job, version=version, base=self.base, metrics=self.shown_metrics, results=self.results
        )


def _published_version(result: StageResult) -> int:
    return int(json.loads((result.folder / "published.json").read_bytes())["version"])


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
