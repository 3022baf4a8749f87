"""A person who asks for help or checks a manifest does not wait for PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from anneal_api.errors import ExitCode

HEAVY = {"torch", "ray", "transformers", "numpy", "onnxruntime", "datasets", "sklearn", "pandas", "pyarrow"}

_REPORT = """
import json, sys
from anneal_cli.app import main
sys.argv = ["anneal", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as end:
    code = end.code or 0
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def modules_after(*arguments: str) -> set[str]:
    code, modules = ended_with(*arguments)
    assert code == 0
    return modules


def ended_with(*arguments: str) -> tuple[int, set[str]]:
    """Runs a command and returns its exit code and the modules that it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT, json.dumps(arguments)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


def test_validate_imports_nothing_heavy(write: Callable[..., Path], good: str) -> None:
    modules = modules_after("validate", str(write(good)))
    assert "pydantic" in modules
    assert not modules & (HEAVY | {"kubernetes"})


def test_the_definition_is_printed_without_anything_heavy() -> None:
    assert not modules_after("crd") & HEAVY


@pytest.mark.parametrize("command", ["status", "logs"])
def test_asking_a_cluster_needs_the_package_kubernetes_alone(command: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "kubeconfig")
    code, modules = ended_with(command, "reviews", "--kubeconfig", missing)
    assert code == ExitCode.RESOURCE_UNAVAILABLE
    assert "kubernetes" in modules
    assert not modules & (HEAVY | {"aiohttp", "kopf", "prometheus_client"})


def test_without_the_package_kubernetes_it_is_said_how_to_install_it() -> None:
    without = "import sys; sys.modules['kubernetes'] = None; sys.argv = ['anneal', 'status']"
    command = [sys.executable, "-c", f"{without}; from anneal_cli.app import main; main()"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (ExitCode.RESOURCE_UNAVAILABLE, "")
    assert "Run `pip install 'anneal[cluster]'`." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_do_not_even_load_the_schema(option: str) -> None:
    assert not modules_after(option) & (HEAVY | {"pydantic", "ruamel", "kubernetes"})


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "anneal_cli", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("anneal ")
