"""The servers that take part in B2, B3 and B11, and how each is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.processes import Server, free_port, python, serving

# Nothing else is in a namespace of its own but Ray, which takes ports from 30000 upwards.
_OWN_PORT = 8000
_HAPROXY_PORTS = {"RAY_SERVE_HAPROXY_STATS_PORT": "18404", "RAY_SERVE_HAPROXY_METRICS_PORT": "19101"}


@dataclass(frozen=True)
class Contestant:
    """A server that can be started.

    Attributes:
        name: What the table calls it.
        model: The folder it serves.
        module: The module that is run; `{model}` and `{port}` in the arguments are filled in.
        arguments: Its arguments.
        apart: Whether it must run in a network namespace of its own.
        environment: Variables that it needs.
        exact: Whether it must answer as the trained weights do.
    """

    name: str
    model: Path
    module: str
    arguments: tuple[str, ...]
    apart: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    exact: bool = True

    @contextmanager
    def running(self, logs: Path) -> Iterator[Server]:
        """Starts it on a free port and ends it."""
        port = _OWN_PORT if self.apart else free_port()
        arguments = [part.format(model=self.model, port=port) for part in self.arguments]
        scratch = {}
        if self.apart:
            folder = logs / f"haproxy-{port}"
            folder.mkdir(parents=True, exist_ok=True)
            scratch = {
                "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
                "RAY_SERVE_HAPROXY_SOCKET_PATH": f"/tmp/anneal-haproxy-{port}.sock",  # a path of 100 characters at most
                "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
                "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
            }
        log = logs / f"{self.name.replace(' ', '-').replace('/', '-')}.log"
        with serving(
            python(self.module, *arguments),
            port=port,
            log=log,
            apart=self.apart,
            environment={**self.environment, **scratch},
        ) as server:
            yield server


def anneal_serve(model: Path, *, name: str = "anneal serve", exact: bool = True) -> Contestant:
    """Returns `anneal serve`: Ray Serve with its ordinary proxy."""
    return Contestant(name, model, "anneal_cli", ("serve", "{model}", "--port", "{port}"), exact=exact)


def anneal_haproxy(model: Path, *, name: str = "anneal serve, HAProxy", exact: bool = True) -> Contestant:
    """Returns `anneal serve` as in the cluster: HAProxy with the throughput settings.

    HAProxy listens on every interface, so it gets a network namespace in which there is only a loopback.
    """
    environment = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        **_HAPROXY_PORTS,
    }
    return Contestant(
        name,
        model,
        "anneal_cli",
        ("serve", "{model}", "--port", "{port}"),
        apart=True,
        environment=environment,
        exact=exact,
    )


def anneal_uvicorn(
    model: Path, threads: int, *, name: str = "anneal, uvicorn", exact: bool = True
) -> Contestant:
    """Returns our ASGI app in one process, without Ray."""
    return Contestant(
        name,
        model,
        "tests.benchmarks.contestants.anneal_uvicorn",
        ("{model}", "{port}", str(threads)),
        exact=exact,
    )


def fastapi_pipeline(model: Path, *, name: str = "FastAPI + pipeline") -> Contestant:
    """Returns the tutorials' server."""
    return Contestant(name, model, "tests.benchmarks.contestants.fastapi_pipeline", ("{model}", "{port}"))


def fastapi_onnxruntime(
    model: Path, *, name: str = "FastAPI + onnxruntime", exact: bool = True
) -> Contestant:
    """Returns the server that somebody who knows ONNX Runtime writes by hand."""
    return Contestant(
        name, model, "tests.benchmarks.contestants.fastapi_onnxruntime", ("{model}", "{port}"), exact=exact
    )
