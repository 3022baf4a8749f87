"""The cluster that a command speaks to: which one, which namespace, and what its refusals mean to a person."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anneal_api.errors import AnnealError, ObjectNotFound, RequestInvalid, ResourceUnavailable
from anneal_cli.cluster_reader import ClusterReader, UnknownKind
from anneal_operator.cluster.errors import ApiError, Forbidden, Unauthorized, Unavailable
from anneal_operator.cluster.kinds import FINE_TUNE_JOB
from anneal_operator.resources.ownership import Object

_DEFAULT_NAMESPACE = "default"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """What a person said about the cluster.

    Attributes:
        namespace: The namespace; empty: that of the context.
        context: The context; empty: the current one.
        kubeconfig: The kubeconfig; None: as kubectl finds it.
    """

    namespace: str = ""
    context: str = ""
    kubeconfig: Path | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, as one who may read in it.

    Attributes:
        reader: Reads from it.
        namespace: The namespace that is meant.
    """

    reader: ClusterReader
    namespace: str

    @classmethod
    def chosen(cls, choice: ClusterChoice) -> Cluster:
        """Returns the cluster of a choice. It is not spoken to yet.

        Raises:
            ResourceUnavailable: There is no way to it.
            RequestInvalid: The namespace is no name.
        """
        if choice.namespace and not _NAME.fullmatch(choice.namespace):
            raise RequestInvalid(
                f"{choice.namespace!r} is no name of a namespace.",
                where="--namespace",
                remedy="`kubectl get namespaces` lists them.",
            )
        reader = ClusterReader(choice.kubeconfig, choice.context)
        return cls(reader, choice.namespace or reader.namespace or _DEFAULT_NAMESPACE)

    def job(self, name: str) -> Object:
        """Returns a FineTuneJob as it is now.

        Raises:
            ObjectNotFound: It does not exist.
            ResourceUnavailable: The cluster cannot be asked.
        """
        if not _NAME.fullmatch(name):
            raise no_such_job(name, self.namespace)
        with self.explained(name):
            return self.reader.get(FINE_TUNE_JOB, self.namespace, name)

    @contextmanager
    def explained(self, job: str = "") -> Iterator[None]:
        """Makes what the API server refuses inside say what, where and what to do.

        Args:
            job: The job that it is about; empty: all of them.

        Raises:
            ObjectNotFound: There is no such job, or no such kind of object.
            ResourceUnavailable: The cluster cannot be asked.
        """
        try:
            yield
        except ApiError as error:
            raise self._explained(error, job) from error

    def _explained(self, error: ApiError, job: str) -> AnnealError:
        server, source = self.reader.server, self.reader.source
        if isinstance(error, UnknownKind):
            return ObjectNotFound(
                "The cluster does not know FineTuneJobs.",
                where=server,
                remedy="Install anneal's operator in it (docs/install.md), or choose another with --context.",
            )
        if error.code == 404:  # noqa: PLR2004  # Not Found
            return no_such_job(job, self.namespace)
        if isinstance(error, Unauthorized):
            return ResourceUnavailable(
                f"The cluster does not accept the credentials of the {_bare(source)}: {error.message}.",
                where=server,
                remedy="Log in anew, or choose another context with --context.",
            )
        if isinstance(error, Forbidden):
            return ResourceUnavailable(
                f"The cluster does not allow it: {error.message}.",
                where=f"{server}, {source}",
                remedy=(
                    "Ask for the right to get, list and watch finetunejobs.anneal.dev and pods, and to get pods/log "
                    "there; the role `view` has it where the chart makes its roles for people."
                ),
            )
        if isinstance(error, Unavailable) and not error.code:
            return self._out_of_reach(error)
        return ResourceUnavailable(
            f"The cluster cannot answer: {error}.", where=server, remedy="Try again in a moment."
        )

    def _out_of_reach(self, error: ApiError) -> AnnealError:
        server, source = self.reader.server, self.reader.source
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return ResourceUnavailable(
                f"The certificate of the cluster cannot be trusted: {error.message}.",
                where=server,
                remedy="Check certificate-authority-data and tls-server-name in the kubeconfig, or fetch it anew.",
            )
        return ResourceUnavailable(
            f"The cluster does not answer: {error.message}.",
            where=f"{server}, {source}",
            remedy="Check that it runs and that it is reached from here, or choose another with --context.",
        )


def no_such_job(name: str, namespace: str) -> ObjectNotFound:
    """Returns the error that a job does not exist."""
    return ObjectNotFound(
        f"There is no FineTuneJob {name!r} in the namespace {namespace!r}.",
        where=f"{namespace}/{name}",
        remedy="`anneal status` lists those of a namespace (-n NAMESPACE), and of all with -A.",
    )


def _bare(source: str) -> str:
    return source.removeprefix("the ")
