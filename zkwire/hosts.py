"""Connect strings: "h1:2181,h2,[::1]:2181/chroot"."""

from __future__ import annotations

from typing import NamedTuple

from . import paths

DEFAULT_PORT = 2181


class Host(NamedTuple):
    """One server, by name or address."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class HostsError(ValueError):
    """A connect string that names no servers; says where."""


def parse(text: str) -> tuple[list[Host], str]:
    """The hosts and the chroot ("" for none) of a connect string. The port defaults to 2181.

    Raises:
        HostsError: names the part that is wrong.
    """
    servers, slash, rest = text.partition("/")
    chroot = slash + rest
    if chroot == "/":
        chroot = ""
    elif chroot and (reason := paths.fault(chroot)):
        raise HostsError(f"chroot of {text!r}: {reason}")
    return [_host(part.strip(), text) for part in servers.split(",")], chroot


def _host(part: str, text: str) -> Host:
    name, port = part, str(DEFAULT_PORT)
    if part.startswith("["):
        name, bracket, rest = part[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise HostsError(f"{part!r} in {text!r}: expected [address] or [address]:port")
        port = rest[1:] if rest else port
    elif part.count(":") > 1:
        raise HostsError(f"{part!r} in {text!r}: an IPv6 address stands in brackets")
    elif ":" in part:
        name, _, port = part.partition(":")
    if not name or any(character.isspace() or character in "[]" for character in name):
        raise HostsError(f"{part!r} in {text!r}: expected a host name or address")
    if not (len(port) <= 5 and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise HostsError(f"{part!r} in {text!r}: expected a port from 1 to 65535, got {port!r}")
    return Host(name, int(port))
