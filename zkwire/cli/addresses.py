"""Where to listen, and which servers, as the verbs that stand between a client and a server are given them."""

from __future__ import annotations

from ..hosts import Host, HostsError, parse_hosts
from .status import USAGE, CommandError

LOOPBACK = "127.0.0.1"


def listening(text: str) -> Host:
    """HOST:PORT, :PORT or PORT. Without a host on loopback: a tap is open to whoever reaches it. 0.0.0.0:PORT or
    [::]:PORT is every interface. Port 0 takes a free one."""
    name, colon, port = text.rpartition(":")
    name = name.removeprefix("[").removesuffix("]") if colon else ""
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise CommandError(f"LISTEN {text!r}: expected HOST:PORT, :PORT or PORT", USAGE)
    if ":" in name and not text.startswith("["):
        raise CommandError(f"LISTEN {text!r}: an IPv6 address stands in brackets", USAGE)
    return Host(name or LOOPBACK, int(port))


def servers(text: str) -> str:
    """The connect string of SERVER: HOST:PORT, :PORT, PORT or HOST, several by comma."""
    parts = []
    for part in text.split(","):
        port = part.strip().removeprefix(":")
        parts.append(f"{LOOPBACK}:{port}" if port.isdigit() else part)
    try:
        hosts, chroot = parse_hosts(",".join(parts))
    except HostsError as error:
        raise CommandError(f"SERVER {text!r}: {error}", USAGE) from None
    if chroot:
        raise CommandError(f"SERVER {text!r}: {chroot} is a client's affair: give it to the client", USAGE)
    return ",".join(map(str, hosts))
