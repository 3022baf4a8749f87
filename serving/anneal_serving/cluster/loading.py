"""Makes a version ready to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anneal_api.errors import ArtifactInvalid
from anneal_serving.app import build_app
from anneal_serving.artifact import Artifact
from anneal_serving.cluster.switch import LoadedVersion
from anneal_serving.cluster.wish import Wish
from anneal_serving.meters import Meter
from anneal_serving.model_info import ModelInfo
from anneal_serving.requests import Limits
from anneal_serving.version_place import version_at


def load_version(
    wish: Wish,
    *,
    threads: int,
    max_tokens: int,
    meter_for: Callable[[str], Meter],
    outlook: Callable[[], Mapping[str, object]],
) -> LoadedVersion:
    """Verifies a version, loads it, and lets it answer once.

    Args:
        wish: Names the version.
        threads: Rows that are computed at the same time, where the wish does not say it.
        max_tokens: Tokens of one request, where the wish does not say it.
        meter_for: Gives what counts for a version, named as in `reviews/v3`.
        outlook: What `/health/ready` says beside its own.

    Raises:
        ArtifactInvalid: The version is not the one that was published, or cannot answer.
        ResourceUnavailable: The bucket that it lies in cannot be reached.
    """
    with version_at(wish.version_folder) as folder:
        artifact = Artifact.open(folder, digest=wish.digest)
        if artifact.manifest.version != wish.version:
            raise ArtifactInvalid(
                f"The folder holds version {artifact.manifest.version}, and {wish.version} was asked for.",
                where=wish.version_folder,
                remedy="Name the folder of the version that is wanted.",
            )
        info = ModelInfo.of(artifact)
        predictor = artifact.predictor(threads=wish.threads or threads)
    limits = Limits(max_tokens=wish.max_batch_tokens or max_tokens)
    meters = [meter_for(artifact.version)]
    app = build_app(predictor, info, limits, meters=meters, outlook=outlook)

    def close() -> None:
        predictor.close()
        app.close()

    return LoadedVersion(artifact.version, app, close)
