"""`anneal run`: a manifest becomes a served model on this machine."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from anneal_api.errors import ExitCode, Interrupted, ManifestInvalid
from anneal_api.job import FineTuneJob
from anneal_api.schema import parse_quantity
from anneal_api.support import Place
from anneal_cli.manifest_file import load_job
from anneal_cli.run_places import RunPlaces
from anneal_cli.run_view import RunView, gate_table, variants_table
from anneal_cli.serve_command import require_free_port, serve_until_stopped
from anneal_serving.environment_paths import make_paths_absolute

if TYPE_CHECKING:
    from anneal_trainer.engine.plan import WorkerGroup
    from anneal_trainer.outcome import Outcome


def run(
    file: Path,
    *,
    work_dir: Path,
    store: Path | None,
    fresh: bool,
    serve: bool,
    host: str,
    port: int,
    console: Console,
) -> ExitCode:
    """Runs a job's stages, shows what came out, and serves the published version until it is stopped.

    Args:
        file: The manifest.
        work_dir: Where stages keep their results.
        store: Root of the model store; None: the manifest's, or `store` beside the work folder.
        fresh: Forget the results of earlier runs.
        serve: Serve the published version, if the manifest has a `serving` part.
        host: Address to serve on.
        port: Port to serve on.
        console: Where to show the run.

    Returns:
        The exit code: `GATE_NOT_PASSED` where nothing was published.
    """
    job = load_job(file, Place.MACHINE)
    make_paths_absolute(os.environ)  # before the libraries that read them are imported
    places = RunPlaces.of(job, file, work_dir=work_dir, store=store)
    will_serve = serve and job.spec.serving is not None
    if will_serve:
        require_free_port(host, port)
    console.print(
        Text.assemble(
            (job.metadata.name, "bold"), f"  {job.spec.task.value}  ", (job.spec.model.source, "dim")
        )
    )
    outcome = _run_pipeline(job, places, fresh=fresh, console=console)
    _show(outcome, console)
    if outcome.published is None:
        return ExitCode.GATE_NOT_PASSED
    if will_serve:
        serve_until_stopped(outcome.published, job.spec.serving, host=host, port=port, console=console)
    return ExitCode.OK


def _run_pipeline(job: FineTuneJob, places: RunPlaces, *, fresh: bool, console: Console) -> Outcome:
    from anneal_serving.ray_folder import ray_folder
    from anneal_serving.writable_folder import require_temporary_folder, require_writable
    from anneal_trainer.pipeline import Pipeline

    group = _worker_group(job)
    view = RunView(console)
    pipeline = Pipeline(
        job,
        base_folder=places.base_folder,
        work=places.work,
        store=places.store,
        group=group,
        ray_session=_local_ray,
        observer=view,
    )
    # The job's own folders: an earlier run of somebody else may have made them.
    require_writable(pipeline.stages.root, setting="--work-dir", what="work folder")
    require_writable(pipeline.versions.folder, setting=places.store_setting, what="model store")
    require_temporary_folder()
    ray_folder(os.environ)
    try:
        with view.live():
            return pipeline.run(fresh=fresh)
    except KeyboardInterrupt:
        raise Interrupted(
            "The run was stopped.", remedy="Run the same command again: it goes on where it was."
        ) from None


def _local_ray(group: WorkerGroup) -> AbstractContextManager[None]:
    from anneal_trainer.engine.local_ray import local_ray

    return local_ray(group)


def _worker_group(job: FineTuneJob) -> WorkerGroup:
    from anneal_trainer.engine.plan import WorkerGroup
    from anneal_trainer.environment import usable_cores

    resources = job.spec.resources
    cpus = (
        max(1, round(parse_quantity(resources.cpu)))
        if resources.cpu
        else max(1, usable_cores() // resources.workers)
    )
    if resources.gpus_per_worker:
        import torch

        wanted, there = resources.workers * resources.gpus_per_worker, torch.cuda.device_count()
        if wanted > there:
            raise ManifestInvalid(
                f"The job asks for {wanted} GPUs and this machine has {there}.",
                where="spec.resources",
                remedy="Lower workers or gpusPerWorker; 0 GPUs trains on the CPU.",
            )
    return WorkerGroup(
        workers=resources.workers, gpus_per_worker=resources.gpus_per_worker, cpus_per_worker=cpus
    )


def _show(outcome: Outcome, console: Console) -> None:
    report = outcome.report
    console.print()
    console.print(variants_table(report))
    console.print()
    if report.gate.rows:
        console.print(gate_table(report))
    else:
        console.print(
            "No gates: whatever was trained is published. Set spec.evaluation.gates.", style="yellow"
        )
    console.print()
    if outcome.published is None:
        from anneal_trainer.evaluate.gate import refusal

        console.print(Text("Nothing was published.", style="bold red"))
        console.print(refusal(report.gate), highlight=False)
    else:
        console.print(
            Text.assemble(
                ("Published ", "bold green"),
                f"{report.job} v{report.version}  ",
                _relative(outcome.published),
            )
        )
    console.print(Text.assemble("Report    ", _relative(outcome.report_page)))
    warnings = sum(finding.level == "warning" for finding in report.data.findings)
    if warnings:
        console.print(
            Text(
                f"Preflight had {warnings} warning{'s' * (warnings > 1)}: see above or the report.", "yellow"
            )
        )


def _relative(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
