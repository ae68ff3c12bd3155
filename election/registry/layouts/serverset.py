"""Layout `serverset`: PATH/member_SEQUENCE holds the JSON of Finagle and Aurora.

Sources: Finagle's serverset2 Entry.scala and Parse.scala, and its JsonCodec, which is Gson.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from zkwire import CreateMode

from ...errors import RegistryError
from . import Entry, Instance, Layout, Member, address
from .payload import dump, load, number_of, only, text_of


class Status(str, Enum):
    """What a member of a serverset says about itself. Only members that are ALIVE are used."""

    DEAD = "DEAD"
    STARTING = "STARTING"
    ALIVE = "ALIVE"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    WARNING = "WARNING"
    UNKNOWN = "UNKNOWN"  # any other value


@dataclass(frozen=True)
class Endpoint:
    """Where something listens."""

    host: str
    port: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServersetMember(Instance):
    """A member of a serverset. `service_endpoint` is None if the payload has none with a host and a port; additional
    endpoints without these are left out."""

    service_endpoint: Endpoint | None
    additional_endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    status: Status = Status.ALIVE
    shard: int | None = None
    metadata: Mapping[str, str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def encode_member(member: ServersetMember) -> bytes:
    """The JSON, with the keys in Finagle's order. Raises RegistryError for a value that JSON cannot hold."""
    main = member.service_endpoint
    fields: dict[str, Any] = {
        "serviceEndpoint": None if main is None else _endpoint_fields(main),
        "additionalEndpoints": {name: _endpoint_fields(end) for name, end in member.additional_endpoints.items()},
        "status": member.status.value,
    }
    if member.shard is not None:
        fields["shard"] = member.shard
    if member.metadata is not None:
        fields["metadata"] = dict(member.metadata)
    return dump(fields, member.extra)


def decode_member(data: bytes | None) -> ServersetMember:
    """The member. A field of the wrong type counts as absent, as in Finagle. Raises PayloadError for data that is not a
    JSON object."""
    fields = load(data)
    additional = only(fields.pop("additionalEndpoints", None), dict) or {}
    endpoints = {name: _endpoint(value) for name, value in additional.items()}
    status = only(fields.pop("status", None), str)
    metadata = only(fields.pop("metadata", None), dict)
    if metadata is not None:
        texts = {name: text_of(value) for name, value in metadata.items()}
        metadata = {name: text for name, text in texts.items() if text is not None}
    return ServersetMember(
        service_endpoint=_endpoint(fields.pop("serviceEndpoint", None)),
        additional_endpoints={name: endpoint for name, endpoint in endpoints.items() if endpoint is not None},
        status=Status(status) if status in Status.__members__ else Status.UNKNOWN,
        shard=number_of(fields.pop("shard", None)),
        metadata=metadata,
        extra=fields,
    )


def _endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    return {"host": endpoint.host, "port": endpoint.port, **endpoint.extra}


def _endpoint(value: Any) -> Endpoint | None:
    if not isinstance(value, dict):
        return None
    host, port = only(value.get("host"), str), number_of(value.get("port"))
    if host is None or port is None:
        return None
    return Endpoint(host, port, {name: each for name, each in value.items() if name not in ("host", "port")})


class ServersetLayout(Layout):
    """Finagle's serverset, its members only: the weights in `vector_` znodes are not read."""

    PREFIX = "member_"

    def entry(self, member: str | Instance, data: bytes) -> Entry:
        if data:
            raise RegistryError("a serverset's member has no data: register a ServersetMember with metadata")
        if isinstance(member, str):
            member = ServersetMember(Endpoint(*address(member)))
        if not isinstance(member, ServersetMember):
            raise RegistryError(f"the layout serverset registers an address or a ServersetMember, not {member!r:.60}")
        return Entry(self.PREFIX, encode_member(member), CreateMode.EPHEMERAL_SEQUENTIAL, member)

    def updated(self, entry: Entry, new: bytes | Instance) -> Entry:
        if isinstance(new, bytes):
            raise RegistryError("a serverset's member has no data: update with a ServersetMember")
        return self.entry(new, b"")

    def decode(self, name: str, data: bytes, czxid: int) -> Member:
        found = decode_member(data)
        main = found.service_endpoint
        if main is None:
            return Member(name, None, None, data, found, False, czxid)
        return Member(name, main.host, main.port, data, found, found.status is Status.ALIVE, czxid)

    def is_member(self, name: str) -> bool:
        return name.startswith(self.PREFIX)
