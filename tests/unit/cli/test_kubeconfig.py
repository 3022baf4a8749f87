"""The kubeconfig as kubectl reads it, login programs, and a clear word where neither works."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anneal_api.errors import ResourceUnavailable
from anneal_cli import kubeconfig as module
from anneal_cli.kubeconfig import Login, log_in

V1 = "client.authentication.k8s.io/v1"


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "_ACCOUNT", tmp_path / "account")
    for name in ("KUBECONFIG", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def kubeconfig(folder: Path, *, user: dict[str, Any] | None = None, **changes: Any) -> Path:
    document = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
            {"name": "there", "context": {"cluster": "d", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "http://127.0.0.1:8001/"}},
            {"name": "d", "cluster": {"server": "http://127.0.0.1:8002"}},
        ],
        "users": [{"name": "u", "user": {"token": "abc"} if user is None else user}],
    } | changes
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / "config"
    file.write_text(json.dumps(document))
    return file


def token(login: Login) -> str:
    """Returns the header that a request would have now."""
    found = login.client.configuration.auth_settings()["BearerToken"]["value"]
    return str(found).removeprefix("Bearer ")


def test_reads_the_current_context_and_the_one_that_is_chosen(tmp_path: Path) -> None:
    found = log_in(kubeconfig(tmp_path))
    assert (found.server, found.namespace, found.source) == ("http://127.0.0.1:8001", "team", "context here")
    assert token(found) == "abc"
    found = log_in(kubeconfig(tmp_path), "there")
    assert (found.server, found.namespace, found.source) == ("http://127.0.0.1:8002", "", "context there")


def test_of_several_files_the_first_counts_and_some_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kubeconfig(tmp_path / "1", user={"token": "first"}, clusters=[])
    second = kubeconfig(tmp_path / "2", user={"token": "second"}, **{"current-context": "there"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{first}:{second}")
    found = log_in()
    assert (token(found), found.server) == ("first", "http://127.0.0.1:8001")


def test_the_kubeconfig_at_home_counts_before_the_service_account(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("of the pod")
    kubeconfig(tmp_path / "home" / ".kube")
    assert token(log_in()) == "abc"


def refused(file: Path | None, context: str = "") -> ResourceUnavailable:
    with pytest.raises(ResourceUnavailable) as caught:
        log_in(file, context)
    assert caught.value.where
    assert caught.value.remedy
    return caught.value


def test_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    assert "use-context" in refused(kubeconfig(tmp_path, **{"current-context": ""})).remedy
    assert "does not exist" in refused(tmp_path / "none").what
    assert "--kubeconfig" in refused(None).remedy
    error = refused(kubeconfig(tmp_path), "elsewhere")
    assert (error.what, error.remedy) == (
        "The kubeconfig has no context 'elsewhere'.",
        "It has: here, there.",
    )
    for server in ("127.0.0.1:6443", "ftp://a", ""):
        clusters = [{"name": "c", "cluster": {"server": server}}]
        assert "begins with https://" in refused(kubeconfig(tmp_path, clusters=clusters)).what


@pytest.mark.parametrize(
    "user",
    [{"token": "t", "as": "root"}, {"token": "t", "as-groups": ["a"]}, {"auth-provider": {"name": "gcp"}}],
)
def test_what_cannot_be_honoured_is_refused(tmp_path: Path, user: dict[str, Any]) -> None:
    assert "not supported here" in refused(kubeconfig(tmp_path, user=user)).what


@pytest.mark.parametrize(
    "text", ["{", "", "just words", "[1]", "contexts: 3", "users: [{user: {}}]", "current-context: a"]
)
def test_a_file_that_is_no_kubeconfig_is_no_surprise(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    refused(file)


def test_a_broken_entry_is_told_without_its_secrets(tmp_path: Path) -> None:
    broken = [{"name": "u", "user": {"exec": {"env": "x"}, "token-data": "secret"}}]
    clusters = [{"name": "c", "token": "secret"}]
    for changes in ({"clusters": clusters}, {"users": [{"user": {"token": "secret"}}]}, {"users": broken}):
        error = refused(kubeconfig(tmp_path, **changes))
        assert "secret" not in f"{error.what}{error.where}{error.remedy}"


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    cluster = {"server": "https://127.0.0.1:6443", "certificate-authority": "none.crt"}
    error = refused(kubeconfig(tmp_path, clusters=[{"name": "c", "cluster": cluster}]))
    assert "none.crt" in error.what


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
        "if 'clientKeyData' not in answer.get('status', {}):\n"
        "    answer.get('status', {})['token'] = f\"token {count}\"\n"
        "print(json.dumps(answer))\n"
        "sys.exit(answer.get('exit', 0))\n"
    )
    program.chmod(0o755)
    return kubeconfig(folder, user={"exec": {"apiVersion": V1, "command": "./login", **settings}})


def exec_credential(**status: str) -> dict[str, Any]:
    return {"apiVersion": V1, "kind": "ExecCredential", "status": status}


def test_a_program_logs_in_and_is_told_of_the_cluster(tmp_path: Path) -> None:
    more = {
        "args": ["get-token"],
        "env": [{"name": "MORE", "value": " and more"}],
        "provideClusterInfo": True,
    }
    login = log_in(login_program(tmp_path, exec_credential(), **more))
    assert [token(login), token(login)] == ["token 1", "token 1"]
    assert (tmp_path / "arguments").read_text() == "get-token and more"
    told = json.loads((tmp_path / "told").read_text())
    assert told["apiVersion"] == V1
    assert told["spec"] == {"interactive": False, "cluster": {"server": "http://127.0.0.1:8001/"}}


def test_a_program_is_asked_again_when_its_token_expires(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    login = log_in(login_program(tmp_path / "a", exec_credential(expirationTimestamp=soon)))
    assert token(login) == "token 2"
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    login = log_in(login_program(tmp_path / "b", exec_credential(expirationTimestamp=later)))
    assert [token(login), token(login)] == ["token 1", "token 1"]


def test_a_program_may_give_a_certificate(tmp_path: Path) -> None:
    pair = {"clientCertificateData": "certificate", "clientKeyData": "key"}
    configuration = log_in(login_program(tmp_path, exec_credential(**pair))).client.configuration
    assert Path(configuration.cert_file).read_text() == "certificate"
    assert Path(configuration.key_file).read_text() == "key"


@pytest.mark.parametrize(
    ("answer", "settings", "what"),
    [
        ({}, {"command": "no-such-program", "installHint": "Get it from example.com."}, "No such file"),
        ({}, {}, "malformed response"),
        ({"exit": 3, "status": {}}, {}, "process returned 3"),
        ({"apiVersion": "other", "kind": "ExecCredential", "status": {}}, {}, "does not match"),
    ],
)
def test_a_program_that_does_not_log_in_is_told_with_the_remedy(
    tmp_path: Path,
    answer: dict[str, Any],
    settings: dict[str, Any],
    what: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    error = refused(login_program(tmp_path, answer, **settings))
    assert "names a program to log in with that fails" in error.what
    assert what in error.what
    assert error.remedy == settings.get("installHint", "Log in with it anew.")
    assert capfd.readouterr().err == ""


def test_in_a_pod_its_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = tmp_path / "account"
    account.mkdir()
    for name, content in (("token", "of the pod"), ("namespace", "team\n"), ("ca.crt", "a certificate")):
        (account / name).write_text(content)
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(account / "token"))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(account / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    login = log_in()
    assert (login.server, login.namespace) == ("https://[fd00::1]:6443", "team")
    assert token(login) == "bearer of the pod"


def test_what_is_written_in_the_kubeconfig_is_read(tmp_path: Path) -> None:
    data = base64.b64encode(b"authority").decode()
    cluster = {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": data,
        "tls-server-name": "a.test",
    }
    (tmp_path / "key").write_text("key")
    (tmp_path / "certificate").write_text("certificate")
    user = {"client-certificate": "certificate", "client-key": "key"}
    file = kubeconfig(tmp_path, user=user, clusters=[{"name": "c", "cluster": cluster}])
    configuration = log_in(file).client.configuration
    assert Path(configuration.ssl_ca_cert).read_text() == "authority"
    assert configuration.cert_file == str(tmp_path / "certificate")
    assert (configuration.tls_server_name, configuration.verify_ssl) == ("a.test", True)
