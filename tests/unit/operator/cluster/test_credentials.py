"""Credentials: a pod's service account or a plain kubeconfig, and a clear word where neither works."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from anneal_api.errors import ResourceUnavailable
from anneal_operator.cluster import credentials as module
from anneal_operator.cluster.credentials import Token, find_credentials, from_kubeconfig, from_service_account


def kubeconfig(folder: Path, *, user: dict[str, Any] | None = None, **changes: Any) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:8001/"}}],
        "users": [{"name": "u", "user": {"token": "abc"} if user is None else user}],
    } | changes
    folder.mkdir(exist_ok=True)
    file = folder / "config"
    file.write_text(json.dumps(document))
    return file


def test_reads_the_current_context(tmp_path: Path) -> None:
    found = from_kubeconfig(kubeconfig(tmp_path))
    assert (found.server, found.namespace, found.token.current()) == ("http://127.0.0.1:8001", "team", "abc")
    assert found.tls is None


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, user={"tokenFile": "token"})
    (tmp_path / "token").write_text("from a file\n")
    assert from_kubeconfig(file).token.current() == "from a file"


def test_insecure_means_insecure_and_nothing_else_does(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": True}
    found = from_kubeconfig(kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": cluster}]))
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_NONE
    del cluster["insecure-skip-tls-verify"]
    found = from_kubeconfig(kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": cluster}]))
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED


def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = next(
        (
            path
            for path in (ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt")
            if path
        ),
        "",
    )
    if not Path(authority).exists():
        pytest.skip("this machine has no certificate authorities to stand for a cluster's")
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("one")
    (account / "namespace").write_text("anneal-system\n")
    (account / "ca.crt").write_bytes(Path(authority).read_bytes())
    monkeypatch.setattr(module, "_ACCOUNT", account)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = find_credentials(environment)
    assert found.server == "https://[fd00::1]:6443"
    assert found.namespace == "anneal-system"
    assert found.token.current() == "one"
    short = from_service_account(account, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert short.server == "https://10.0.0.1:443"
    named = environment | {"KUBECONFIG": str(kubeconfig(tmp_path))}
    assert find_credentials(named).token.current() == "abc"


def test_outside_a_pod_the_kubeconfig_at_home_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ACCOUNT", tmp_path / "none")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ResourceUnavailable, match="cannot be used: FileNotFoundError") as caught:
        find_credentials({})
    assert caught.value.where == str(tmp_path / ".kube" / "config")
    assert "service account" in caught.value.remedy
    kubeconfig(tmp_path / ".kube")
    assert find_credentials({}).token.current() == "abc"


def test_a_token_that_kubelet_replaced_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    file = tmp_path / "token"
    file.write_text("old")
    token = Token(file=file)
    assert token.current() == "old"
    file.write_text("new")
    assert token.current() == "old"
    now[0] += 31
    assert token.current() == "new"


@pytest.mark.parametrize(
    "user",
    [
        {"auth-provider": {"name": "gcp"}},
        {"exec": {"command": "a"}},
        {"username": "a"},
        {"token": "t", "as": "x"},
    ],
)
def test_what_cannot_be_honoured_is_refused(tmp_path: Path, user: dict[str, Any]) -> None:
    with pytest.raises(ResourceUnavailable, match="is not supported by the operator") as caught:
        from_kubeconfig(kubeconfig(tmp_path, user=user))
    assert "client certificate" in caught.value.remedy


@pytest.mark.parametrize("text", ["{", "", "just words", "[1]", "contexts: 3", "users: [{user: {}}]"])
def test_a_file_that_is_no_kubeconfig_is_no_surprise(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ResourceUnavailable, match="The kubeconfig cannot be used"):
        from_kubeconfig(file)


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for cluster in ({"certificate-authority": "none.crt"}, {"certificate-authority-data": "bm90aGluZw=="}):
        entry = {"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}
        with pytest.raises(ResourceUnavailable, match="cannot be used"):
            from_kubeconfig(kubeconfig(tmp_path, clusters=[entry]))
