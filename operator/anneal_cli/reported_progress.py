"""How far a job is by its own pods' reports, which are newer than the progress in its status.

The operator writes `status.progress` when the percent moves; a person who looks on wants the steps in between.
"""

from __future__ import annotations

from dataclasses import replace

from anneal_api.status import Phase
from anneal_cli.cluster_reader import ClusterReader
from anneal_cli.seen_job import SeenJob
from anneal_operator.cluster.errors import ApiError, Forbidden
from anneal_operator.cluster.kinds import CONFIG_MAP
from anneal_operator.plan.observations import report_in
from anneal_operator.plan.status import reported_progress
from anneal_operator.resources.names import attempt_name

_SECONDS = 5
_REPORTING = frozenset({Phase.PREPARING, Phase.TRAINING, Phase.FINISHING})


class ReportedProgress:
    """Reads the reports of a job's running attempt, as long as one may.

    Args:
        reader: Reads from the cluster.
    """

    def __init__(self, reader: ClusterReader) -> None:
        self._reader = reader
        self._allowed = True

    def seconds(self, job: SeenJob) -> int | None:
        """Returns how often to look for a newer report; None where none can come."""
        return _SECONDS if self._allowed and job.status.phase in _REPORTING and not job.is_edited else None

    def newest(self, job: SeenJob) -> SeenJob:
        """Returns a job with the progress that its pods last reported; as it is where there is no report to read."""
        run = job.status.run
        if run is None or not run.part.is_known or self.seconds(job) is None:
            return job
        attempt = run.generation, run.attempt
        try:
            board = self._reader.get(CONFIG_MAP, job.namespace, attempt_name(job.name, *attempt))
        except Forbidden:
            self._allowed = False
            return job
        except ApiError:  # that the cluster is out of reach is told by the watch
            return job
        report = report_in(board, job.uid, *attempt, run.part)
        if report is None:
            return job
        progress = reported_progress(run.part, report)
        return replace(job, status=job.status.model_copy(update={"progress": progress}))
