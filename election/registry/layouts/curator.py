"""Layout `curator`: PATH/ID holds the JSON of Curator's x-discovery; PATH ends with the name of the service.

Sources: Curator 5 ServiceInstance, JsonInstanceSerializer, and what Jackson 2.14 and 2.21 make of odd values there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from zkwire import CreateMode

from ...errors import RegistryError
from . import Entry, Instance, Layout, Member, address, one_step
from .payload import PayloadError, dump, load, take, take_number, take_text


class ServiceType(str, Enum):
    """The znode that holds the instance: DYNAMIC is ephemeral, STATIC and PERMANENT are persistent, and
    DYNAMIC_SEQUENTIAL is ephemeral with digits after the id."""

    DYNAMIC = "DYNAMIC"
    STATIC = "STATIC"
    PERMANENT = "PERMANENT"
    DYNAMIC_SEQUENTIAL = "DYNAMIC_SEQUENTIAL"


@dataclass(frozen=True)
class ServiceInstance(Instance):
    """An instance of a service, in the words of Curator's x-discovery. The defaults are those of Curator's reader for
    absent fields.

    Attributes:
        payload: any JSON value; a Java object has the name of its class as "@class".
        registration_time_utc: milliseconds since 1970.
        uri_spec: the JSON object of a template for the URI of the instance; it is not interpreted.
        enabled: None if the field is absent, which means True.
        extra: fields that are unknown here.
    """

    name: str = ""
    id: str = ""
    address: str | None = None
    port: int | None = None
    ssl_port: int | None = None
    payload: Any = None
    registration_time_utc: int = 0
    service_type: ServiceType = ServiceType.DYNAMIC
    uri_spec: Mapping[str, Any] | None = None
    enabled: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def encode_instance(instance: ServiceInstance) -> bytes:
    """The JSON, with the keys in Jackson's order. Raises RegistryError for a value that JSON cannot hold."""
    fields: dict[str, Any] = {
        "name": instance.name,
        "id": instance.id,
        "address": instance.address,
        "port": instance.port,
        "sslPort": instance.ssl_port,
        "payload": instance.payload,
        "registrationTimeUTC": instance.registration_time_utc,
        "serviceType": instance.service_type.value,
        "uriSpec": instance.uri_spec,
    }
    if instance.enabled is not None:  # Curator's default serializer leaves it out
        fields["enabled"] = instance.enabled
    return dump(fields, instance.extra)


def decode_instance(data: bytes | None) -> ServiceInstance:
    """The instance; `{}` is one too. Raises PayloadError."""
    fields = load(data)
    return ServiceInstance(
        name=take_text(fields, "name") or "",
        id=take_text(fields, "id") or "",
        address=take_text(fields, "address"),
        port=take_number(fields, "port"),
        ssl_port=take_number(fields, "sslPort"),
        payload=fields.pop("payload", None),
        registration_time_utc=take_number(fields, "registrationTimeUTC") or 0,
        service_type=_service_type(take(fields, "serviceType", str, "DYNAMIC")),
        uri_spec=take(fields, "uriSpec", dict, None),
        enabled=take(fields, "enabled", bool, None),
        extra=fields,
    )


def _service_type(name: str) -> ServiceType:
    try:
        return ServiceType(name)
    except ValueError:
        raise PayloadError(f"serviceType: expected one of {', '.join(ServiceType)}, got {name!r:.40}") from None


class CuratorLayout(Layout):
    """Data given as bytes is text, and becomes the payload."""

    def __init__(self, service: str, now: Callable[[], float]) -> None:
        """`service` is the name of the service; `now()` is in seconds since 1970."""
        self._service = service
        self._now = now

    def entry(self, member: str | Instance, data: bytes) -> Entry:
        if isinstance(member, str):
            host, port = address(member)
            member = ServiceInstance(
                self._service,
                str(uuid.uuid4()),
                host,
                port,
                payload=_text(data),
                registration_time_utc=int(self._now() * 1000),
            )
        elif data:
            raise RegistryError("a ServiceInstance is registered without data: put it into the payload")
        if not isinstance(member, ServiceInstance):
            raise RegistryError(f"the layout curator registers an address or a ServiceInstance, not {member!r:.60}")
        if member.name != self._service:
            raise RegistryError(f"the path is that of the service {self._service!r:.60}, not of {member.name!r:.60}")
        if member.service_type is ServiceType.DYNAMIC:
            mode = CreateMode.EPHEMERAL
        elif member.service_type is ServiceType.DYNAMIC_SEQUENTIAL:
            mode = CreateMode.EPHEMERAL_SEQUENTIAL
        else:
            raise RegistryError(
                f"a registration is an ephemeral znode, but that of a {member.service_type.value} instance is "
                f"persistent: create it with zk.create"
            )
        return Entry(one_step(member.id), encode_instance(member), mode, member)

    def updated(self, entry: Entry, new: bytes | Instance) -> Entry:
        assert isinstance(entry.instance, ServiceInstance)
        if isinstance(new, bytes):
            new = replace(entry.instance, payload=_text(new))
        again = self.entry(new, b"")
        if (again.name, again.mode) != (entry.name, entry.mode):
            raise RegistryError(f"an update keeps id and service type: {entry.name!r:.60}, {entry.mode.name}")
        return again

    def decode(self, name: str, data: bytes, czxid: int) -> Member:
        found = decode_instance(data)
        return Member(name, found.address, found.port, data, found, found.enabled is not False, czxid)


def _text(data: bytes) -> str | None:
    try:
        return data.decode() or None
    except UnicodeDecodeError as error:
        raise RegistryError(f"a payload given as bytes must be text in UTF-8: {error}") from None
