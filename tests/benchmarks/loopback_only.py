"""Runs a command in a network namespace that has a loopback interface and nothing else.

    unshare --net python -m tests.benchmarks.loopback_only COMMAND...

A server that insists on listening on every interface is then reachable from nowhere but the namespace itself.
Clients enter it with `nsenter --net --target PID`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_INTERFACES_FILE = "/proc/net/dev"
_HEADER_LINES = 2
_LEAVE_SECONDS = 10.0


def enter_command() -> list[str]:
    """Returns the words before a command that is to run in a namespace of its own."""
    return ["unshare", "--net", *_AS_USER, sys.executable, "-m", "tests.benchmarks.loopback_only"]


def join_command(pid: int) -> list[str]:
    """Returns the words before a command that is to run in the namespace of a process."""
    user = ["--user", "--preserve-credentials"] if _AS_USER else []
    return ["nsenter", "--target", str(pid), *user, "--net"]


def wait_until_apart(pid: int) -> None:
    """Waits until a process has left our namespace: whoever joins it earlier joins ours.

    Raises:
        TimeoutError: It did not leave.
    """
    deadline = time.monotonic() + _LEAVE_SECONDS
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink():
            return
        time.sleep(0.005)
    raise TimeoutError(f"Process {pid} got no network namespace of its own.")


def available() -> bool:
    """Returns whether this machine lets us make such a namespace."""
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return False
    return subprocess.run([*enter_command(), "true"], capture_output=True, check=False).returncode == 0


_AS_USER = [] if os.geteuid() == 0 else ["--map-root-user"]


def main() -> None:
    """Brings the loopback interface up and becomes the command.

    Raises:
        SystemExit: This process can see other interfaces: it is not in a namespace of its own.
    """
    lines = Path(_INTERFACES_FILE).read_text(encoding="ascii").splitlines()
    names = {line.partition(":")[0].strip() for line in lines[_HEADER_LINES:]}
    if "lo" not in names or any(name.startswith(("eth", "en", "wl")) for name in names):
        raise SystemExit(f"This is no namespace with a loopback only: {', '.join(sorted(names))}.")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    os.execvp(sys.argv[1], sys.argv[1:])  # the words are the harness's own


if __name__ == "__main__":
    main()
