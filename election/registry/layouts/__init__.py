"""How members are written into znodes: three layouts.

    names      PATH/NAME             any data; NAME is "host:port" where it is an address
    curator    PATH/ID               JSON of Curator's x-discovery; PATH ends with the name of the service
    serverset  PATH/member_SEQUENCE  JSON of Finagle and Aurora

This file has what all layouts have in common, and the layout names. curator.py and serverset.py have the other two, and
payload.py has their JSON. Fields that are not known here are kept, and written again. Payloads are read as Curator and
Finagle read them. A payload that they refuse raises PayloadError. Nothing here waits or looks at a clock: the time is
an argument.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

from zkwire import CreateMode

from ...errors import RegistryError


class Instance:
    """A member with all the fields of its layout: a ServiceInstance (curator) or a ServersetMember (serverset)."""


@dataclass(frozen=True)
class Member:
    """A member as a view shows it.

    Attributes:
        name: the name of its znode.
        host, port: where it serves; None where the layout or the payload does not say.
        data: the znode's data.
        instance: what the data means; None in the layout names.
        enabled: whether the member says that it may be used.
        czxid: the zxid that created the znode. The same name with another czxid is another registration.
    """

    name: str
    host: str | None
    port: int | None
    data: bytes
    instance: Instance | None = field(default=None, hash=False)
    enabled: bool = True
    czxid: int = 0


@dataclass(frozen=True)
class Entry:
    """What is to be registered.

    Attributes:
        name: the name of the znode; with a sequential mode the name without the digits.
        data: its data.
        mode: EPHEMERAL or EPHEMERAL_SEQUENTIAL.
        instance: what the data means; None in the layout names.
    """

    name: str
    data: bytes
    mode: CreateMode = CreateMode.EPHEMERAL
    instance: Instance | None = None


class Layout(ABC):
    """What the znodes of a registry look like."""

    @abstractmethod
    def entry(self, member: str | Instance, data: bytes) -> Entry:
        """The entry that registers a member. Raises RegistryError for a member that the layout cannot hold."""

    @abstractmethod
    def updated(self, entry: Entry, new: bytes | Instance) -> Entry:
        """The same entry with new contents. Raises RegistryError for contents that the layout cannot hold."""

    @abstractmethod
    def decode(self, name: str, data: bytes, czxid: int) -> Member:
        """A member from its znode. Raises PayloadError."""

    def is_member(self, name: str) -> bool:
        """Whether a znode of this name is a member's."""
        return True


class NamesLayout(Layout):
    """The name of the znode is the name of the member. The data may be anything."""

    def entry(self, member: str | Instance, data: bytes) -> Entry:
        if not isinstance(member, str):
            raise RegistryError(f"the layout names registers a name, not {member!r:.60}")
        return Entry(one_step(member), data)

    def updated(self, entry: Entry, new: bytes | Instance) -> Entry:
        if not isinstance(new, bytes):
            raise RegistryError(f"the layout names updates with bytes, not {new!r:.60}")
        return replace(entry, data=new)

    def decode(self, name: str, data: bytes, czxid: int) -> Member:
        host, port = split_address(name) or (None, None)
        return Member(name, host, port, data, czxid=czxid)


# --- names and addresses


def split_address(text: str) -> tuple[str, int] | None:
    """Host and port of "host:port" or "[host]:port"; None if the text is neither."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    if not (host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        return None
    return host, int(port)


def address(text: str) -> tuple[str, int]:
    """Host and port of an address. Raises RegistryError."""
    found = split_address(text)
    if found is None:
        raise RegistryError(f"expected host:port, got {text!r:.60}")
    return found


def one_step(name: str) -> str:
    """The name, if a znode below the registry's path can have it. Raises RegistryError."""
    if not name or "/" in name:
        raise RegistryError(f"the name of a member is one step of a path, without a slash; got {name!r:.60}")
    return name
