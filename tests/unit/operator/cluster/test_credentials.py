"""Credentials: a pod's service account or a kubeconfig as kubectl reads it, and a clear word where neither works."""

from __future__ import annotations

import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anneal_api.errors import ResourceUnavailable
from anneal_operator.cluster import credential_sources as module
from anneal_operator.cluster import credentials as credentials_module
from anneal_operator.cluster.credential_sources import find_credentials, from_kubeconfig, from_service_account
from anneal_operator.cluster.credentials import Token


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
    found = from_kubeconfig([kubeconfig(tmp_path)])
    assert (found.server, found.namespace, found.token.current()) == ("http://127.0.0.1:8001", "team", "abc")
    assert found.tls is None


def test_of_several_files_the_first_counts(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "1", user={"token": "first"}, clusters=[])
    second = kubeconfig(tmp_path / "2", user={"token": "second"})
    found = find_credentials({"KUBECONFIG": f"{first}:{second}"})
    assert found.token.current() == "first"
    assert found.server == "http://127.0.0.1:8001"


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, user={"tokenFile": "token"})
    (tmp_path / "token").write_text("from a file\n")
    assert from_kubeconfig([file]).token.current() == "from a file"


def test_insecure_means_insecure_and_nothing_else_does(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": True}
    found = from_kubeconfig([kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": cluster}])])
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_NONE
    del cluster["insecure-skip-tls-verify"]
    found = from_kubeconfig([kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": cluster}])])
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED


def test_says_what_is_wrong_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceUnavailable, match="use-context"):
        from_kubeconfig([kubeconfig(tmp_path, **{"current-context": ""})])
    with pytest.raises(ResourceUnavailable, match="does not exist"):
        find_credentials({"KUBECONFIG": str(tmp_path / "none")})
    monkeypatch.setattr(module, "_ACCOUNT", tmp_path / "account")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ResourceUnavailable, match="KUBECONFIG, or run in a pod"):
        find_credentials({})


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
    (tmp_path / "token").write_text("one")
    (tmp_path / "namespace").write_text("anneal-system\n")
    (tmp_path / "ca.crt").write_bytes(Path(authority).read_bytes())
    monkeypatch.setattr(module, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = find_credentials({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"})
    assert found.server == "https://[fd00::1]:6443"
    assert found.namespace == "anneal-system"
    assert found.token.current() == "one"
    assert (
        from_service_account(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).server
        == "https://10.0.0.1:443"
    )


def test_a_token_that_kubelet_replaced_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(credentials_module.time, "monotonic", lambda: now[0])
    file = tmp_path / "token"
    file.write_text("old")
    token = Token(file=file)
    assert token.current() == "old"
    file.write_text("new")
    assert token.current() == "old"
    now[0] += 31
    assert token.current() == "new"


def two_contexts(folder: Path) -> Path:
    contexts = [
        {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
        {"name": "there", "context": {"cluster": "d", "user": "u"}},
    ]
    clusters = [
        {"name": name, "cluster": {"server": f"http://127.0.0.1:{port}"}}
        for name, port in (("c", 8001), ("d", 8002))
    ]
    return kubeconfig(folder, contexts=contexts, clusters=clusters)


def test_another_context_can_be_chosen(tmp_path: Path) -> None:
    file = two_contexts(tmp_path)
    found = find_credentials({}, kubeconfig=file, context="there")
    assert (found.server, found.namespace, found.source) == ("http://127.0.0.1:8002", "", "context there")
    assert find_credentials({"KUBECONFIG": "nowhere"}, kubeconfig=file).source == "context here"
    with pytest.raises(ResourceUnavailable, match="no context 'elsewhere'") as caught:
        find_credentials({}, kubeconfig=file, context="elsewhere")
    assert caught.value.remedy == "It has: here, there."


def test_of_several_files_some_may_be_missing(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path)
    assert find_credentials({"KUBECONFIG": f"{tmp_path / 'none'}:{file}"}).token.current() == "abc"


def test_the_kubeconfig_at_home_counts_before_the_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("of the pod")
    monkeypatch.setattr(module, "_ACCOUNT", account)
    monkeypatch.setenv("HOME", str(tmp_path))
    kubeconfig(tmp_path / ".kube")
    assert find_credentials({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).token.current() == "abc"


@pytest.mark.parametrize(
    "user",
    [{"auth-provider": {"name": "gcp"}}, {"username": "a", "password": "b"}, {"token": "t", "as": "root"}],
)
def test_what_cannot_be_honoured_is_refused(tmp_path: Path, user: dict[str, Any]) -> None:
    with pytest.raises(ResourceUnavailable, match="not supported here"):
        from_kubeconfig([kubeconfig(tmp_path, user=user)])


@pytest.mark.parametrize("text", ["{", "just words", "[1]", "contexts: 3", "users: [{user: {}}]"])
def test_a_file_that_is_no_kubeconfig_is_no_surprise(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ResourceUnavailable):
        from_kubeconfig([file])


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for cluster in ({"certificate-authority": "none.crt"}, {"certificate-authority-data": "bm90aGluZw=="}):
        entry = {"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}
        with pytest.raises(ResourceUnavailable, match="certificate or key of the context here"):
            from_kubeconfig([kubeconfig(tmp_path, clusters=[entry])])


def login_program(folder: Path, answer: dict[str, Any], **settings: Any) -> Path:
    """Writes a kubeconfig with a program that counts its runs, keeps what it was told, and prints an answer."""
    folder.mkdir(exist_ok=True)
    program = folder / "login"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        "here = pathlib.Path(__file__).parent\n"
        "runs = here / 'runs'\n"
        "count = int(runs.read_text()) + 1 if runs.exists() else 1\n"
        "runs.write_text(str(count))\n"
        "(here / 'told').write_text(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "(here / 'arguments').write_text(' '.join(sys.argv[1:]) + os.environ.get('MORE', ''))\n"
        f"answer = json.loads({json.dumps(answer)!r})\n"
        "answer.get('status', {})['token'] = f\"token {count}\"\n"
        "print(json.dumps(answer))\n"
        "sys.exit(answer.get('exit', 0))\n"
    )
    program.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": "./login", "interactiveMode": "Never", **settings}}
    return kubeconfig(folder, user=user)


def exec_credential(**status: str) -> dict[str, Any]:
    return {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}


def test_a_program_logs_in_when_its_token_is_needed_and_once(tmp_path: Path) -> None:
    file = login_program(
        tmp_path,
        exec_credential(),
        args=["get-token"],
        env=[{"name": "MORE", "value": " and more"}],
        provideClusterInfo=True,
    )
    token = from_kubeconfig([file]).token
    assert not (tmp_path / "runs").exists()
    assert [token.current(), token.current()] == ["token 1", "token 1"]
    assert (tmp_path / "arguments").read_text() == "get-token and more"
    told = json.loads((tmp_path / "told").read_text())
    assert told["apiVersion"] == "client.authentication.k8s.io/v1"
    assert told["spec"] == {"interactive": False, "cluster": {"server": "http://127.0.0.1:8001/"}}


def test_a_program_is_asked_again_before_its_token_expires_and_when_the_server_refuses_it(
    tmp_path: Path,
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    token = from_kubeconfig([login_program(tmp_path / "a", exec_credential(expirationTimestamp=soon))]).token
    assert [token.current(), token.current()] == ["token 1", "token 2"]
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    token = from_kubeconfig([login_program(tmp_path / "b", exec_credential(expirationTimestamp=later))]).token
    assert [token.current(), token.current()] == ["token 1", "token 1"]
    assert token.renew()
    assert token.current() == "token 2"
    assert not Token("fixed").renew()


@pytest.mark.parametrize(
    ("answer", "settings", "what"),
    [
        ({}, {"command": "no-such-program", "installHint": "Get it from example.com."}, "is not installed"),
        ({}, {}, "printed no ExecCredential"),
        ({"exit": 3, "status": {}}, {}, "exit code 3"),
        ({"apiVersion": "other", "status": {}}, {}, "answered in other"),
        ({}, {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "speaks client"),
        ({}, {"interactiveMode": "Always"}, "has to ask a person"),
        (
            exec_credential(clientCertificateData="no", clientKeyData="certificate"),
            {},
            "a certificate that cannot be used",
        ),
    ],
)
def test_a_program_that_does_not_log_in_is_named_with_the_remedy(
    tmp_path: Path,
    answer: dict[str, Any],
    settings: dict[str, Any],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    file = login_program(tmp_path, answer, **settings)
    document = json.loads(file.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:6443"
    file.write_text(json.dumps(document))
    token = from_kubeconfig([file]).token
    with pytest.raises(ResourceUnavailable, match=what) as caught:
        token.current()
    assert caught.value.remedy
    if "installHint" in settings:
        assert caught.value.remedy == settings["installHint"]
