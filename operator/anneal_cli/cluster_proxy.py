"""Which proxy stands between here and an API server, by the variables that kubectl goes by."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from anneal_api.errors import ResourceUnavailable

_SCHEMES = frozenset({"http", ""})


def proxy_for(server: str, named: str | None, environment: Mapping[str, str]) -> str | None:
    """Returns the address of the proxy to a server; None: there is none.

    Args:
        server: Address of the server.
        named: The proxy that the kubeconfig names, which counts before the variables; None: it names none.
        environment: Environment variables: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in capitals or not.

    Raises:
        ResourceUnavailable: The proxy is of a kind that is not supported here.
    """
    place = urlsplit(server)
    found = named or _variable(environment, f"{place.scheme}_proxy")
    if not found:
        return None
    if not named and _passed_by(place.hostname or "", place.port, _variable(environment, "no_proxy")):
        return None
    if urlsplit(found if "://" in found else f"//{found}").scheme not in _SCHEMES:
        raise ResourceUnavailable(
            "The proxy to the cluster is of a kind that is not supported here.",
            where=found,
            remedy="Name one that begins with http://, in HTTPS_PROXY or as proxy-url in the kubeconfig.",
        )
    return found if "://" in found else f"http://{found}"


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _passed_by(host: str, port: int | None, exceptions: str) -> bool:
    """Whether a host is reached without the proxy. The host itself always is, whatever NO_PROXY says."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for exception in filter(None, (each.strip().lower() for each in exceptions.split(","))):
        if exception == "*" or exception in {host, f"{host}:{port}"}:
            return True
        if address is None and host.endswith(f".{exception.lstrip('.')}"):
            return True
        if address is not None and "/" in exception and _is_within(address, exception):
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
