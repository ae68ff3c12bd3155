"""LISTEN and SERVER, the addresses that tap and replay take."""

from __future__ import annotations

from ..hosts import Host, HostsError, parse_hosts
from .status import USAGE, CommandError

LOOPBACK = "127.0.0.1"


def listening(text: str) -> Host:
    """The address of LISTEN: HOST:PORT, :PORT or PORT. Without a host it is loopback, since everyone who can reach a
    tap can use it. 0.0.0.0:PORT or [::]:PORT means every interface. Port 0 means any free port.

    Raises:
        CommandError: the text is not such an address.
    """
    name, colon, port = text.rpartition(":")
    name = name.removeprefix("[").removesuffix("]") if colon else ""
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise CommandError(f"LISTEN {text!r}: expected HOST:PORT, :PORT or PORT", USAGE)
    if ":" in name and not text.startswith("["):
        raise CommandError(f"LISTEN {text!r}: an IPv6 address needs brackets, as in [::1]:2181", USAGE)
    return Host(name or LOOPBACK, int(port))


def servers(text: str) -> str:
    """The connect string of SERVER: HOST:PORT, :PORT, PORT or HOST, or several with commas between them.

    Raises:
        CommandError: the text is not such a list, or has a chroot.
    """
    parts = []
    for part in text.split(","):
        port = part.strip().removeprefix(":")
        parts.append(f"{LOOPBACK}:{port}" if port.isdigit() else part)
    try:
        hosts, chroot = parse_hosts(",".join(parts))
    except HostsError as error:
        raise CommandError(f"SERVER {text!r}: {error}", USAGE) from None
    if chroot:
        raise CommandError(f"SERVER {text!r}: a chroot belongs to the client: give {chroot} to the client", USAGE)
    return ",".join(map(str, hosts))
