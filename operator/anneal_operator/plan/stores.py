"""In which model store what belongs to a job lies: recorded when it is begun, and not moved by any setting after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anneal_api.job import FineTuneJobSpec
from anneal_api.status import Run, StoreStatus, VersionStatus
from anneal_operator.plan import spec_digest
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.recovered import Recorded
from anneal_operator.resources import places
from anneal_operator.settings import Settings


def store_for(
    run: Run | None, versions: Sequence[VersionStatus], spec: FineTuneJobSpec, settings: Settings
) -> StoreStatus | None:
    """Returns the store that a spec's work goes to; None where neither the spec nor the operator names one.

    A job that names none stays in the one that it began in: versions are numbered there, and the next one is measured
    against the last.

    Args:
        run: The attempt under way, or the last one.
        versions: The published versions.
        spec: The spec.
        settings: The operator's settings.
    """
    if spec.store is None:
        known = (run, *reversed(versions))
        stores = (each.store for each in known if each is not None and each.store is not None)
        began_in = next((store for store in stores if store.from_operator), None)
        if began_in is not None and began_in.uri == settings.store:
            # What is made from now on opens it with the Secret of now.
            return began_in.model_copy(update={"secret_name": places.store_secret(spec, settings)})
        if began_in is not None:
            return began_in
    uri = places.store_uri(spec, settings)
    if not uri:
        return None
    return StoreStatus(
        uri=uri, secretName=places.store_secret(spec, settings), fromOperator=spec.store is None
    )


def pinned(
    spec: FineTuneJobSpec, settings: Settings, store: StoreStatus | None
) -> tuple[FineTuneJobSpec, Settings]:
    """Returns a spec and settings by which everything lies in a given store.

    Args:
        spec: The spec.
        settings: The operator's settings.
        store: The store; None: the one that they name.
    """
    if store is None or (spec.store is not None and spec.store.uri == store.uri):
        return spec, settings  # the manifest may give the same store another Secret
    settings = replace(settings, store=store.uri, store_secret=store.secret_name)
    return spec.model_copy(update={"store": None}), settings


def with_stores(observed: Observed, recorded: Recorded, spec: FineTuneJobSpec) -> Recorded:
    """Returns the past with the store of everything, as far as an earlier release did not record it."""
    run, versions = recorded.run, recorded.versions

    def store_of(generation: int) -> StoreStatus | None:
        made_from = spec_digest.spec_of(observed, generation) or spec
        return store_for(run, versions, made_from, observed.settings)

    if run is not None and run.store is None:
        run = run.model_copy(update={"store": store_of(run.generation)})
    versions = tuple(
        v if v.store is not None else v.model_copy(update={"store": store_of(v.generation)}) for v in versions
    )
    return replace(recorded, run=run, versions=versions)
