"""The operator's command: settings, signals, exit codes."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from random import Random

from anneal_api.errors import AnnealError, ExitCode
from anneal_operator.cluster.clock import SystemClock
from anneal_operator.cluster.credentials import find_credentials
from anneal_operator.cluster.lease import LeaseLost
from anneal_operator.controller.logs import configure
from anneal_operator.controller.manager import KindsChanged, Manager, OutOfReach
from anneal_operator.controller.metrics import Metrics
from anneal_operator.controller.probes import Probes, serve
from anneal_operator.controller.settings_from_env import ProcessSettings, read_settings, variables
from anneal_operator.plan.actions import Plan
from anneal_operator.plan.observed import Observed
from anneal_operator.settings import Settings

_LOG = logging.getLogger(__name__)

Planner = Callable[[Observed], Plan]


def main(arguments: Sequence[str] | None = None, *, plan: Planner | None = None) -> int:
    """Runs the operator until it is told to stop.

    Args:
        arguments: Of the command line; None: the process's.
        plan: What decides; None: the operator's own.

    Returns:
        0 after SIGTERM, 1 where it has to be started again, another exit code where that would not help.
    """
    parser = argparse.ArgumentParser(
        prog="python -m anneal_operator",
        description="Runs anneal's operator. It is configured by environment variables:",
        epilog="\n".join(f"  {name}\n      {meaning}" for name, meaning in variables().items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("anneal"))
    parser.parse_args(arguments)
    configure("info")
    try:
        settings, process = read_settings(os.environ)
        configure(process.log_level)
        return asyncio.run(_run(settings, process, plan or _own_plan()))
    except AnnealError as error:
        _LOG.error("%s", error)
        return error.exit_code
    except OSError as error:
        _LOG.error("%s", error)
        return ExitCode.RESOURCE_UNAVAILABLE


def _own_plan() -> Planner:
    from anneal_operator.plan.plan import plan  # noqa: PLC0415  # tests bring their own

    return plan


async def _run(settings: Settings, process: ProcessSettings, plan: Planner) -> int:
    metrics, probes, stop = Metrics(version("anneal")), Probes(), asyncio.Event()
    heed_signals = partial(_heed_signals, stop)
    heed_signals()
    async with serve(probes, metrics, probe_port=process.probe_port, metrics_port=process.metrics_port):
        manager = Manager(
            find_credentials(),
            settings,
            process,
            plan=plan,
            metrics=metrics,
            probes=probes,
            clock=SystemClock(),
            random=Random(),  # noqa: S311  # spreads waits, hides nothing
            stop=stop,
            heed_signals=heed_signals,
        )
        try:
            await manager.run()
        except KindsChanged as change:
            _LOG.warning("%s; ending, to be started again and watch the right ones", change)
        except (LeaseLost, OutOfReach) as error:
            _LOG.error("%s; ending", error)
        except Exception:  # noqa: BLE001  # Kubernetes starts the process again, with everything read anew
            _LOG.exception("the operator cannot go on")
        else:
            _LOG.info("told to stop")
            return ExitCode.OK
        return ExitCode.INTERNAL


def _heed_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


if __name__ == "__main__":
    sys.exit(main())
