"""`anneal status`: how FineTuneJobs in a cluster stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from anneal_api.errors import ExitCode, RequestInvalid
from anneal_cli.cluster_access import Cluster, ClusterChoice
from anneal_cli.console import say
from anneal_cli.following import job_changes
from anneal_cli.reported_progress import ReportedProgress
from anneal_cli.seen_job import SeenJob
from anneal_cli.status_follower import Follower, JsonFollower, LineFollower, LiveFollower
from anneal_cli.status_view import job_view, phase_style, show
from anneal_cli.wording import Times, printable
from anneal_operator.cluster.kinds import FINE_TUNE_JOB
from anneal_operator.resources.ownership import Object


def status(
    name: str | None,
    *,
    choice: ClusterChoice,
    everywhere: bool,
    watch: bool,
    as_json: bool,
    console: Console,
) -> ExitCode:
    """Shows a job, or the jobs of a namespace or of all.

    Args:
        name: Name of the job; None: all of them.
        choice: The cluster and the namespace.
        everywhere: Show the jobs of all namespaces.
        watch: Follow the job until it is Ready, Succeeded or Failed.
        as_json: Print JSON for programs instead of text for people.
        console: Where to show it.

    Returns:
        Where a job failed, the exit code that says why.

    Raises:
        RequestInvalid: The options contradict each other.
        ObjectNotFound: The job does not exist, or was deleted while it was followed.
        ResourceUnavailable: The cluster cannot be asked.
    """
    if watch and name is None:
        raise RequestInvalid(
            "Only one job can be followed.", where="--watch", remedy="Name it: anneal status NAME --watch."
        )
    if everywhere and (name is not None or choice.namespace):
        what = "a name" if name is not None else "--namespace"
        raise RequestInvalid(
            f"--all-namespaces and {what} exclude each other.",
            where="--all-namespaces",
            remedy="Give one of them.",
        )
    cluster = Cluster.chosen(choice)
    if name is None:
        return _list(cluster, everywhere=everywhere, as_json=as_json, console=console)
    if watch:
        return _follow(cluster, name, as_json=as_json, console=console)
    job = SeenJob.of(cluster.job(name))
    if as_json:
        console.file.write(f"{json.dumps(job.as_record(), indent=2)}\n")
    else:
        show(console, job_view(job, _times(console)))
    return job.exit_code


def _follow(cluster: Cluster, name: str, *, as_json: bool, console: Console) -> ExitCode:
    follower: Follower
    job = None
    reported = ReportedProgress(cluster.reader)

    def quiet_seconds(body: Object) -> int | None:
        return None if as_json else reported.seconds(SeenJob.of(body))

    with ExitStack() as stack:
        if as_json:
            follower = JsonFollower(console)
        elif console.is_terminal:
            follower = LiveFollower(console)
            stack.enter_context(follower.shown())
        else:
            follower = LineFollower(console)
        interrupted = False
        try:
            for body in job_changes(cluster, name, lost=follower.lost, quiet_seconds=quiet_seconds):
                job = SeenJob.of(body) if as_json else reported.newest(SeenJob.of(body))
                follower.saw(job)
                if job.has_settled:
                    break
        except KeyboardInterrupt:
            interrupted = True
    if job is not None and not as_json:
        show(console, job_view(job, _times(console)))
    if interrupted or job is None:
        say(f"No longer followed; {name} goes on. `anneal status {name} --watch` follows it again.", err=True)
        return ExitCode.INTERRUPTED
    return job.exit_code


def _list(cluster: Cluster, *, everywhere: bool, as_json: bool, console: Console) -> ExitCode:
    namespace = "" if everywhere else cluster.namespace
    with cluster.explained():
        found, _ = cluster.reader.listed(FINE_TUNE_JOB, namespace)
    jobs = sorted(map(SeenJob.of, found), key=lambda job: (job.namespace, job.name))
    if as_json:
        console.file.write(f"{json.dumps({'jobs': [job.as_record() for job in jobs]}, indent=2)}\n")
    elif jobs:
        show(console, jobs_table(jobs, _times(console), everywhere=everywhere))
    else:
        place = "the cluster" if everywhere else f"the namespace {namespace}"
        say(f"There are no FineTuneJobs in {place}.", err=True)
    return ExitCode.OK


def jobs_table(jobs: Sequence[SeenJob], times: Times, *, everywhere: bool) -> Table:
    """Returns a line for each job.

    Args:
        jobs: The jobs.
        times: How times are written.
        everywhere: Whether they are of several namespaces.
    """
    table = Table(box=None, pad_edge=False)
    names = ["name", "task", "phase", "progress", "score", "version", "age" if times.now else "created"]
    for heading in ["namespace", *names] if everywhere else names:
        table.add_column(heading, no_wrap=True, justify="right" if heading == "progress" else "left")
    table.add_column("what goes on", overflow="fold")
    for job in jobs:
        status, progress = job.status, job.status.progress
        cells: list[RenderableType] = [
            Text(printable(job.name), "bold"),
            printable(job.task),
            Text("New" if job.is_new else status.phase.value, phase_style(status)),
            f"{progress.percent} %" if progress is not None else "-",
            printable(status.score, one_line=True) or "-",
            printable(status.served_version, one_line=True) or "-",
            times.age(job.created_at),
            _what_goes_on(job),
        ]
        table.add_row(*([printable(job.namespace)] if everywhere else []), *cells)
    return table


def _what_goes_on(job: SeenJob) -> str:
    if job.is_edited:
        return "the operator has not looked at it yet"
    first_line = (printable(job.status.message).splitlines() or [""])[0]
    return f"{job.status.reason.value}: {first_line}" if job.status.reason is not None else first_line


def _times(console: Console) -> Times:
    return Times(datetime.now(UTC) if console.is_terminal else None)
