"""Connect strings: "h1:2181,h2,[::1]:2181/chroot"."""

from __future__ import annotations

import re
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
    """The text is not a connect string. The message names the part that is wrong."""


def parse_hosts(text: str) -> tuple[list[Host], str]:
    """The hosts and the chroot ("" for none) of a connect string. The port defaults to 2181.

    Blanks around the string and around each server are ignored, and so is a comma after the last server.

    Raises:
        HostsError: the text is not a connect string; names the part that is wrong.
    """
    if "://" in text:
        raise HostsError(f"{text!r}: expected host:port,host:port/chroot, got a URL: leave out {text.split('//')[0]}//")
    servers, slash, rest = text.strip().partition("/")
    chroot = slash + rest
    if "," in chroot:
        # ZooKeeper's own client takes all of this as the chroot. A user who writes h1/app,h2/app does not mean that.
        raise HostsError(f"{text!r}: expected one chroot, after the last server, and no comma in it, got {chroot!r}")
    if chroot == "/":
        chroot = ""
    elif chroot and (reason := paths.problem(chroot)):
        raise HostsError(f"chroot of {text!r}: {reason}")
    parts = [part.strip() for part in servers.split(",")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    return [_host(part, text) for part in parts], chroot


#: A name as in DNS or a hosts file, in any script; and an address in brackets, with a scope id after the %.
_NAME = re.compile(r"[\w.-]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?")


def _host(part: str, text: str) -> Host:
    where = f"{part!r} in {text!r}"
    name, port = part, str(DEFAULT_PORT)
    if any(character.isspace() or character in ";|" for character in part):
        raise HostsError(f"{where}: expected host or host:port; servers are separated by commas")
    if part.startswith("["):
        name, bracket, rest = part[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise HostsError(f"{where}: expected [address] or [address]:port")
        if not _IPV6.fullmatch(name):
            raise HostsError(f"{where}: expected an IPv6 address in the brackets, got {name!r}")
        port = rest[1:] if rest else port
    elif part.count(":") > 1:
        raise HostsError(f"{where}: an IPv6 address needs brackets, as in [::1]:2181")
    else:
        if ":" in part:
            name, _, port = part.partition(":")
        if not _NAME.fullmatch(name):
            raise HostsError(f"{where}: expected a host name or address, got {name!r}")
    if not (len(port) <= 5 and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise HostsError(f"{where}: expected a port from 1 to 65535, got {port!r:.80}")
    return Host(name, int(port))
