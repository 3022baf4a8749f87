"""Keeps a replica's ports on this machine."""

from __future__ import annotations

from ray.serve._private import replica

LOOPBACK = "127.0.0.1"
"""The address that only this machine can reach."""


def listen_locally() -> None:
    """Makes the replica in this process listen on 127.0.0.1 only.

    Ray opens a port of each replica for other deployments on every interface, and unpickles what comes there.
    """
    bind = vars(replica)["add_port_to_grpc_server"]

    def bind_locally(server: object, address: str) -> int:
        port: int = bind(server, address.replace("[::]", LOOPBACK))
        return port

    vars(replica)["add_port_to_grpc_server"] = bind_locally
