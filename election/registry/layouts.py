"""How members are written into znodes: three layouts.

    names      PATH/NAME             any data; NAME is "host:port" where it is an address
    curator    PATH/ID               JSON of Curator's x-discovery; PATH ends with the service's name
    serverset  PATH/member_SEQUENCE  JSON of Finagle and Aurora

Fields that are not known here are kept, and written again. Payloads are read as Curator and Finagle read them: null
counts as an absent field, and a number may be written as text. A payload that they refuse raises PayloadError. Pure:
the time is an argument.

Sources: Curator 5 ServiceInstance, JsonInstanceSerializer, UriSpec, and what Jackson 2.14 and 2.21 make of odd values
there; Finagle's serverset2 Entry.scala and Parse.scala, and its JsonCodec, which is Gson.
"""

from __future__ import annotations

import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeVar

from zkwire import CreateMode

from ..errors import RegistryError


class PayloadError(RegistryError):
    """A znode's data is not what its layout says; the message has the field, and what was expected."""


# --- Curator


class ServiceType(str, Enum):
    """The znode that holds the instance: ephemeral, persistent twice, and ephemeral with digits behind the id."""

    DYNAMIC = "DYNAMIC"
    STATIC = "STATIC"
    PERMANENT = "PERMANENT"
    DYNAMIC_SEQUENTIAL = "DYNAMIC_SEQUENTIAL"


@dataclass(frozen=True)
class UriPart:
    """Literal text, or the name of a variable."""

    value: str
    variable: bool


@dataclass(frozen=True)
class UriSpec:
    """A template for an instance's URI, as "{scheme}://{address}:{port}"."""

    parts: tuple[UriPart, ...] = ()

    @classmethod
    def parse(cls, text: str) -> UriSpec:
        """`{name}` is a variable; the variables `[` and `]` stand for literal braces. Raises RegistryError for a brace
        without its other half."""
        parts: list[UriPart] = []
        rest = text
        while rest:
            literal, brace, rest = rest.partition("{")
            name, end, rest = rest.partition("}") if brace else ("", "", "")
            if "}" in literal or "{" in name or (brace and not end):
                raise RegistryError(f"a brace without its other half in the URI spec {text!r:.80}")
            parts += [UriPart(literal, False)] * bool(literal) + [UriPart(name.strip(), True)] * bool(name)
        return cls(tuple(parts))

    def build(self, instance: ServiceInstance, **variables: object) -> str:
        """The instance's URI. A variable that nobody knows becomes nothing. `variables` go before the instance's own;
        write `-` as `_`."""
        known: dict[str, object] = {
            "scheme": "https" if instance.ssl_port is not None else "http",
            "name": instance.name,
            "id": instance.id,
            "address": instance.address,
            "port": instance.port,
            "ssl-port": instance.ssl_port,
            "registration-time-utc": instance.registration_time_utc,
            "service-type": instance.service_type.value.lower(),
            "[": "{",
            "]": "}",
            **{name.replace("_", "-"): value for name, value in variables.items()},
        }
        values = (known.get(part.value) if part.variable else part.value for part in self.parts)
        return "".join("" if value is None else str(value) for value in values)


@dataclass(frozen=True)
class ServiceInstance:
    """An instance of a service, in the words of Curator's x-discovery. Defaults are what its reader takes for absent.

    Attributes:
        payload: any JSON value; objects of Java's have their class's name as "@class".
        registration_time_utc: milliseconds since 1970.
        enabled: None where the field is absent, which means True.
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
    uri_spec: UriSpec | None = None
    enabled: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def encode_instance(instance: ServiceInstance) -> bytes:
    """The JSON, in the order of keys that Jackson writes. Raises RegistryError for what JSON cannot hold."""
    spec = instance.uri_spec
    parts = None if spec is None else [{"value": part.value, "variable": part.variable} for part in spec.parts]
    fields: dict[str, Any] = {
        "name": instance.name,
        "id": instance.id,
        "address": instance.address,
        "port": instance.port,
        "sslPort": instance.ssl_port,
        "payload": instance.payload,
        "registrationTimeUTC": instance.registration_time_utc,
        "serviceType": instance.service_type.value,
        "uriSpec": None if parts is None else {"parts": parts},
    }
    if instance.enabled is not None:  # Curator's default serializer leaves it out
        fields["enabled"] = instance.enabled
    return _dump(fields, instance.extra)


def decode_instance(data: bytes | None) -> ServiceInstance:
    """The instance; `{}` is one too. Raises PayloadError."""
    fields = _load(data)
    spec = _take(fields, "uriSpec", dict, None)
    parts: list[Any] = [] if spec is None else _take(spec, "parts", list, [])
    return ServiceInstance(
        name=_take_text(fields, "name") or "",
        id=_take_text(fields, "id") or "",
        address=_take_text(fields, "address"),
        port=_take_number(fields, "port"),
        ssl_port=_take_number(fields, "sslPort"),
        payload=fields.pop("payload", None),
        registration_time_utc=_take_number(fields, "registrationTimeUTC") or 0,
        service_type=_service_type(_take(fields, "serviceType", str, "DYNAMIC")),
        uri_spec=None if spec is None else UriSpec(tuple(_uri_part(part) for part in parts if part is not None)),
        enabled=_take(fields, "enabled", bool, None),
        extra=fields,
    )


def _service_type(name: str) -> ServiceType:
    try:
        return ServiceType(name)
    except ValueError:
        raise PayloadError(f"serviceType: expected one of {', '.join(ServiceType)}, got {name!r:.40}") from None


def _uri_part(part: Any) -> UriPart:
    if not isinstance(part, dict):
        raise PayloadError(f"uriSpec.parts: expected objects, got {part!r:.40}")
    return UriPart(_take_text(part, "value") or "", _take(part, "variable", bool, False))


# --- Finagle


class Status(str, Enum):
    """What a serverset's member says of itself. Only ALIVE is used."""

    DEAD = "DEAD"
    STARTING = "STARTING"
    ALIVE = "ALIVE"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    WARNING = "WARNING"
    UNKNOWN = "UNKNOWN"  # what the reader makes of any other


@dataclass(frozen=True)
class Endpoint:
    """Where something listens."""

    host: str
    port: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServersetMember:
    """A member of a serverset. `service_endpoint` is None where the payload has none with a host and a port; additional
    endpoints without these are left out."""

    service_endpoint: Endpoint | None
    additional_endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    status: Status = Status.ALIVE
    shard: int | None = None
    metadata: Mapping[str, str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def addresses(self) -> dict[tuple[str, int], list[str | None]]:
        """Every (host, port) there is, with the names of the endpoints there; None names the main one."""
        found: dict[tuple[str, int], list[str | None]] = {}
        for name, endpoint in [(None, self.service_endpoint), *self.additional_endpoints.items()]:
            if endpoint is not None:
                found.setdefault((endpoint.host, endpoint.port), []).append(name)
        return found


def encode_member(member: ServersetMember) -> bytes:
    """The JSON, in the order of keys of Finagle's. Raises RegistryError for what JSON cannot hold."""
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
    return _dump(fields, member.extra)


def decode_member(data: bytes | None) -> ServersetMember:
    """The member. A field of the wrong type counts as absent, as in Finagle. Raises PayloadError for data that is not a
    JSON object."""
    fields = _load(data)
    additional = _only(fields.pop("additionalEndpoints", None), dict) or {}
    endpoints = {name: _endpoint(value) for name, value in additional.items()}
    status = _only(fields.pop("status", None), str)
    metadata = _only(fields.pop("metadata", None), dict)
    if metadata is not None:
        texts = {name: _text_of(value) for name, value in metadata.items()}
        metadata = {name: text for name, text in texts.items() if text is not None}
    return ServersetMember(
        service_endpoint=_endpoint(fields.pop("serviceEndpoint", None)),
        additional_endpoints={name: endpoint for name, endpoint in endpoints.items() if endpoint is not None},
        status=Status(status) if status in Status.__members__ else Status.UNKNOWN,
        shard=_number_of(fields.pop("shard", None)),
        metadata=metadata,
        extra=fields,
    )


def _endpoint_fields(endpoint: Endpoint) -> dict[str, Any]:
    return {"host": endpoint.host, "port": endpoint.port, **endpoint.extra}


def _endpoint(value: Any) -> Endpoint | None:
    if not isinstance(value, dict):
        return None
    host, port = _only(value.get("host"), str), _number_of(value.get("port"))
    if host is None or port is None:
        return None
    return Endpoint(host, port, {name: each for name, each in value.items() if name not in ("host", "port")})


# --- JSON


T = TypeVar("T")


def _load(data: bytes | None) -> dict[str, Any]:
    try:
        fields = json.loads((data or b"").decode())
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"expected JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise PayloadError(f"expected a JSON object, got {fields!r:.40}")
    return fields


def _dump(fields: dict[str, Any], extra: Mapping[str, Any]) -> bytes:
    fields.update((name, value) for name, value in extra.items() if name not in fields)
    try:
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RegistryError(f"no JSON can be made of {fields!r:.80}: {error}") from None


def _take(fields: dict[str, Any], name: str, kind: type, default: T) -> Any | T:
    """Remove the field and return its value; null counts as absent."""
    value = fields.pop(name, None)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise PayloadError(f"{name}: expected {kind.__name__}, got {value!r:.40}")
    return value


def _take_text(fields: dict[str, Any], name: str) -> str | None:
    """The same for text, which may be written as a number or a boolean."""
    value = fields.pop(name, None)
    if value is not None and _text_of(value) is None:
        raise PayloadError(f"{name}: expected str, got {value!r:.40}")
    return _text_of(value)


def _take_number(fields: dict[str, Any], name: str) -> int | None:
    """The same for a whole number, which may be written as text. Blank text counts as absent."""
    value = fields.pop(name, None)
    is_absent = value is None or (isinstance(value, str) and not value.strip())
    if not is_absent and _number_of(value) is None:
        raise PayloadError(f"{name}: expected int, got {value!r:.40}")
    return _number_of(value)


def _text_of(value: object) -> str | None:
    """A scalar as text; None for null, lists and objects."""
    if value is None or isinstance(value, (list, dict)):
        return None
    return value if isinstance(value, str) else json.dumps(value)


_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,19}\s*", re.ASCII).fullmatch


def _number_of(value: object) -> int | None:
    """A whole number, given as a number or as text; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _only(value: Any, kind: type[T]) -> T | None:
    """The value if it is of that kind, else None."""
    return value if isinstance(value, kind) else None


# --- layouts

#: What is registered beside its name.
Instance = ServiceInstance | ServersetMember


@dataclass(frozen=True)
class Member:
    """A member as it is seen.

    Attributes:
        name: the name of its znode.
        host, port: where it serves; None where the layout or the payload does not say.
        data: the znode's data.
        instance: what the data means, in the layouts that have one.
        enabled: whether it says that it may be used.
        czxid: the zxid that created the znode: another one under the same name is another registration.
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
    """What is to be registered: the znode's name, or the start of it with a sequential mode, and its data."""

    name: str
    data: bytes
    mode: CreateMode = CreateMode.EPHEMERAL
    instance: Instance | None = None


class Layout(ABC):
    """What a registry's znodes look like."""

    @abstractmethod
    def entry(self, member: str | Instance, data: bytes) -> Entry:
        """What registers a member. Raises RegistryError where the layout does not have such a one."""

    @abstractmethod
    def updated(self, entry: Entry, new: bytes | Instance) -> Entry:
        """The same entry with new contents. Raises RegistryError where the layout does not have such contents."""

    @abstractmethod
    def decode(self, name: str, data: bytes, czxid: int) -> Member:
        """A member from its znode. Raises PayloadError."""

    def is_member(self, name: str) -> bool:
        """Whether a znode of this name is a member's."""
        return True


class NamesLayout(Layout):
    def entry(self, member: str | Instance, data: bytes) -> Entry:
        if not isinstance(member, str):
            raise RegistryError(f"the layout names registers a name, not {member!r:.60}")
        return Entry(_one_step(member), data)

    def updated(self, entry: Entry, new: bytes | Instance) -> Entry:
        return replace(entry, data=_data(new, "names"))

    def decode(self, name: str, data: bytes, czxid: int) -> Member:
        host, port = split_address(name) or (None, None)
        return Member(name, host, port, data, czxid=czxid)


class CuratorLayout(Layout):
    """Curator's x-discovery. Data given as bytes is text, and becomes the payload."""

    def __init__(self, service: str, now: Callable[[], float]) -> None:
        self._service = service
        self._now = now

    def entry(self, member: str | Instance, data: bytes) -> Entry:
        if isinstance(member, str):
            address, port = _address(member)
            member = ServiceInstance(
                self._service,
                str(uuid.uuid4()),
                address,
                port,
                payload=_text(data),
                registration_time_utc=int(self._now() * 1000),
            )
        elif data:
            raise RegistryError("an instance has its data in its payload")
        if not isinstance(member, ServiceInstance):
            raise RegistryError(f"the layout curator registers an address or a ServiceInstance, not {member!r:.60}")
        if member.name != self._service:
            raise RegistryError(f"an instance of {member.name!r:.60} is not registered as {self._service!r:.60}")
        if member.service_type is ServiceType.DYNAMIC:
            mode = CreateMode.EPHEMERAL
        elif member.service_type is ServiceType.DYNAMIC_SEQUENTIAL:
            mode = CreateMode.EPHEMERAL_SEQUENTIAL
        else:
            raise RegistryError(f"a {member.service_type.value} instance outlives its process: nobody can keep it up")
        return Entry(_one_step(member.id), encode_instance(member), mode, member)

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


class ServersetLayout(Layout):
    """Finagle's serverset, its members only: the weights in `vector_` znodes are not read."""

    PREFIX = "member_"

    def entry(self, member: str | Instance, data: bytes) -> Entry:
        if data:
            raise RegistryError("a serverset's member has no data: register a ServersetMember with metadata")
        if isinstance(member, str):
            member = ServersetMember(Endpoint(*_address(member)))
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


def layout(name: str, path: str, now: Callable[[], float]) -> Layout:
    """The layout by its name, for the members below `path`. `now` gives seconds since 1970.

    Raises RegistryError for a name that is none.
    """
    match name:
        case "names":
            return NamesLayout()
        case "curator":
            return CuratorLayout(path.rpartition("/")[2], now)
        case "serverset":
            return ServersetLayout()
    raise RegistryError(f"there is no layout {name!r:.40}: names, curator, serverset")


def split_address(text: str) -> tuple[str, int] | None:
    """Host and port of "host:port" or "[host]:port"; None where it is neither."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    if not (host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        return None
    return host, int(port)


def _address(text: str) -> tuple[str, int]:
    found = split_address(text)
    if found is None:
        raise RegistryError(f"expected host:port, got {text!r:.60}")
    return found


def _one_step(name: str) -> str:
    if not name or "/" in name:
        raise RegistryError(f"a member is registered under one step of a path, not {name!r:.60}")
    return name


def _data(new: bytes | Instance, name: str) -> bytes:
    if not isinstance(new, bytes):
        raise RegistryError(f"the layout {name} updates with bytes, not {new!r:.60}")
    return new


def _text(data: bytes) -> str | None:
    try:
        return data.decode() or None
    except UnicodeDecodeError as error:
        raise RegistryError(f"a payload given as bytes is text in UTF-8: {error}") from None
