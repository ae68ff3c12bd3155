"""The three layouts: golden payloads of Curator's and Finagle's, round trips, and what is wrong with bad ones."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from election.errors import RegistryError
from election.registry.layouts import Layout, split_address
from election.registry.layouts.curator import ServiceInstance, ServiceType, decode_instance, encode_instance
from election.registry.layouts.payload import PayloadError
from election.registry.layouts.serverset import Endpoint, ServersetMember, Status, decode_member, encode_member
from election.registry.registry import layout_of
from zkwire import CreateMode

NOW = 1700000000.5


def new(name: str) -> Layout:
    return layout_of(name, "/services/daytime", lambda: NOW)


#: As Spring Cloud Zookeeper writes it: a typed payload, and a template of the URI.
SPRING = (
    b'{"name":"application","id":"34e4a4a5-bb1c-4a52-9b1a-1e0d8e0a2ae0","address":"192.168.1.7","port":8080,'
    b'"sslPort":null,"payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",'
    b'"id":"application-1","name":"application","metadata":{"zone":"a"}},"registrationTimeUTC":1495447829443,'
    b'"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false},'
    b'{"value":"address","variable":true},{"value":":","variable":false},{"value":"port","variable":true}]}}'
)
#: As Finagle writes it.
FINAGLE = (
    b'{"serviceEndpoint":{"host":"h1","port":1},"additionalEndpoints":{"admin":{"host":"h1","port":2},'
    b'"http":{"host":"h1","port":1}},"status":"ALIVE","shard":0,"metadata":{"k":"v"}}'
)


# --- Curator


def test_curator_payload_is_read_and_written_again_byte_by_byte() -> None:
    instance = decode_instance(SPRING)
    assert (instance.name, instance.address, instance.port, instance.ssl_port) == (
        "application",
        "192.168.1.7",
        8080,
        None,
    )
    assert instance.payload["@class"] == "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance"
    assert instance.registration_time_utc == 1495447829443
    assert instance.service_type is ServiceType.DYNAMIC
    assert instance.uri_spec == json.loads(SPRING)["uriSpec"]
    assert encode_instance(instance) == SPRING


def test_curator_reader_takes_an_empty_object_and_ignores_what_it_does_not_know() -> None:
    assert decode_instance(b"{}") == ServiceInstance("", "", None, None, None, None, 0, ServiceType.DYNAMIC, None, None)
    assert decode_instance(b'{"port":1,"weight":{"a":[1.5]}}') == ServiceInstance(
        port=1, extra={"weight": {"a": [1.5]}}
    )


#: What Jackson 2.14 and 2.21 make of odd values in a class with the fields of Curator's ServiceInstance; where it has
#: null for a name, an id or a service type we have the default.
READ_BY_JACKSON: list[tuple[str, str, str, object]] = [
    ("name", "name", "null", ""),
    ("id", "id", "null", ""),
    ("id", "id", "8080", "8080"),
    ("id", "id", "true", "true"),
    ("address", "address", "null", None),
    ("address", "address", "8080", "8080"),
    ("port", "port", "null", None),
    ("port", "port", '"8080"', 8080),
    ("port", "port", '" 8080 "', 8080),
    ("port", "port", '"+80"', 80),
    ("port", "port", '""', None),
    ("port", "port", '" "', None),
    ("port", "port", "1e3", 1000),
    ("port", "port", "-1", -1),
    ("sslPort", "ssl_port", '"8443"', 8443),
    ("sslPort", "ssl_port", "null", None),
    ("registrationTimeUTC", "registration_time_utc", "null", 0),
    ("registrationTimeUTC", "registration_time_utc", '"1495447829443"', 1495447829443),
    ("registrationTimeUTC", "registration_time_utc", '""', 0),
    ("serviceType", "service_type", "null", ServiceType.DYNAMIC),
    ("uriSpec", "uri_spec", "null", None),
    ("uriSpec", "uri_spec", "{}", {}),
    ("uriSpec", "uri_spec", '{"parts":null}', {"parts": None}),
    ("uriSpec", "uri_spec", '{"parts":[null]}', {"parts": [None]}),
    ("uriSpec", "uri_spec", '{"parts":[{"value":5}]}', {"parts": [{"value": 5}]}),
]


@pytest.mark.rule("D9")
@pytest.mark.parametrize(("name", "attribute", "text", "value"), READ_BY_JACKSON)
def test_odd_value_that_curators_reader_takes_is_read_as_curator_reads_it(
    name: str, attribute: str, text: str, value: object
) -> None:
    instance = decode_instance(f'{{"{name}":{text}}}'.encode())
    assert getattr(instance, attribute) == value
    assert dataclasses.replace(instance, **{attribute: getattr(ServiceInstance(), attribute)}) == ServiceInstance()


def test_curator_instance_with_only_nulls_is_the_empty_one() -> None:
    fields = json.loads(SPRING)
    assert decode_instance(json.dumps(dict.fromkeys([*fields, "enabled"])).encode()) == ServiceInstance()


def test_enabled_is_written_only_if_it_was_read() -> None:
    assert b"enabled" not in encode_instance(ServiceInstance())
    assert encode_instance(ServiceInstance(enabled=False)).endswith(b'"uriSpec":null,"enabled":false}')
    curator = new("curator")
    states = [curator.decode("x", payload, 1).enabled for payload in (b"{}", b'{"enabled":true}', b'{"enabled":false}')]
    assert states == [True, True, False]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PORTS = st.integers(0, 65535)
KNOWN = {field.name for kind in (ServiceInstance, ServersetMember) for field in dataclasses.fields(kind)} | {
    "sslPort", "registrationTimeUTC", "serviceType", "uriSpec", "serviceEndpoint", "additionalEndpoints", "host",
}  # fmt: skip
EXTRA = st.dictionaries(st.text().filter(lambda name: name not in KNOWN), JSON, max_size=3)

INSTANCES = st.builds(
    ServiceInstance,
    name=st.text(),
    id=st.text(),
    address=st.none() | st.text(),
    port=st.none() | PORTS,
    ssl_port=st.none() | PORTS,
    payload=JSON,
    registration_time_utc=st.integers(-(2**63), 2**63 - 1),
    service_type=st.sampled_from(ServiceType),
    uri_spec=st.none() | st.dictionaries(st.text(), JSON, max_size=3),
    enabled=st.none() | st.booleans(),
    extra=EXTRA,
)
ENDPOINTS = st.builds(Endpoint, st.text(), PORTS, EXTRA)
MEMBERS = st.builds(
    ServersetMember,
    service_endpoint=st.none() | ENDPOINTS,
    additional_endpoints=st.dictionaries(st.text(), ENDPOINTS, max_size=3),
    status=st.sampled_from(Status),
    shard=st.none() | st.integers(),
    metadata=st.none() | st.dictionaries(st.text(), st.text(), max_size=3),
    extra=EXTRA,
)


@given(INSTANCES)
def test_instance_comes_back_from_json(instance: ServiceInstance) -> None:
    assert decode_instance(encode_instance(instance)) == instance


@given(MEMBERS)
def test_serverset_member_comes_back_from_json(member: ServersetMember) -> None:
    assert decode_member(encode_member(member)) == member


@pytest.mark.rule("D9")
@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda value: repr(value).encode()))
def test_any_data_is_a_member_or_a_payload_error(data: bytes) -> None:
    for decode in (decode_instance, decode_member):
        with contextlib.suppress(PayloadError):
            decode(data)


@pytest.mark.rule("D9")
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "expected JSON in UTF-8"),
        (b"\xff", "expected JSON in UTF-8"),
        (b"[" * 100_000, "expected JSON in UTF-8"),
        (b"[]", r"expected a JSON object, got \[\]"),
        (b'{"name":[]}', r"name: expected str, got \[\]"),
        (b'{"address":{}}', "address: expected str, got {}"),
        (b'{"port":"http"}', "port: expected int, got 'http'"),
        (b'{"port":"80.5"}', "port: expected int, got '80.5'"),
        (b'{"port":80.5}', "port: expected int, got 80.5"),
        (b'{"port":NaN}', "port: expected int, got nan"),
        (b'{"port":true}', "port: expected int, got True"),
        (b'{"serviceType":"FIXED"}', "serviceType: expected one of .*DYNAMIC_SEQUENTIAL.*, got 'FIXED'"),
        (b'{"uriSpec":"http"}', "uriSpec: expected dict, got 'http'"),
        (b'{"enabled":0}', "enabled: expected bool, got 0"),
    ],
)
def test_bad_instance_says_what_is_wrong(data: bytes, complaint: str) -> None:
    with pytest.raises(PayloadError, match=complaint):
        decode_instance(data)


@pytest.mark.parametrize(
    "payload",
    [float("nan"), {1, 2}, "\ud800", *[pytest.param(object(), id="object")]],
    ids=["nan", "set", "surrogate", "object"],
)
def test_what_json_cannot_hold_is_refused(payload: Any) -> None:
    with pytest.raises(RegistryError, match="no JSON can be made of"):
        encode_instance(ServiceInstance(payload=payload))


def test_address_becomes_an_instance_with_curators_defaults() -> None:
    entry = new("curator").entry("10.0.0.1:8897", b"text")
    instance = entry.instance
    assert isinstance(instance, ServiceInstance)
    assert (instance.name, instance.address, instance.port) == ("daytime", "10.0.0.1", 8897)
    assert (instance.payload, instance.registration_time_utc) == ("text", 1700000000500)
    assert (instance.service_type, instance.ssl_port, instance.uri_spec) == (ServiceType.DYNAMIC, None, None)
    assert (entry.name, entry.mode) == (instance.id, CreateMode.EPHEMERAL)
    assert entry.data == encode_instance(instance)
    other = new("curator").entry("10.0.0.1:8897", b"")
    assert other.name != entry.name  # a random id
    assert isinstance(other.instance, ServiceInstance)
    assert other.instance.payload is None


def test_curator_update_keeps_the_identity() -> None:
    curator = new("curator")
    entry = curator.entry(ServiceInstance("daytime", "i", port=1), b"")
    again = curator.updated(entry, b"more")
    assert again.instance == ServiceInstance("daytime", "i", port=1, payload="more")
    whole = ServiceInstance("daytime", "i", port=2)
    assert curator.updated(entry, whole).instance == whole
    with pytest.raises(RegistryError, match="an update keeps id and service type"):
        curator.updated(entry, ServiceInstance("daytime", "j"))


def test_sequential_instance_has_digits_after_its_id() -> None:
    entry = new("curator").entry(ServiceInstance("daytime", "i", service_type=ServiceType.DYNAMIC_SEQUENTIAL), b"")
    assert (entry.name, entry.mode) == ("i", CreateMode.EPHEMERAL_SEQUENTIAL)


# --- Finagle


def test_finagle_payload_is_read_and_written_again_byte_by_byte() -> None:
    member = decode_member(FINAGLE)
    assert member.service_endpoint == Endpoint("h1", 1)
    assert (member.status, member.shard, member.metadata) == (Status.ALIVE, 0, {"k": "v"})
    assert member.additional_endpoints == {"admin": Endpoint("h1", 2), "http": Endpoint("h1", 1)}
    assert encode_member(member) == FINAGLE


def test_finagle_reader_ignores_endpoints_without_host_or_port() -> None:
    member = decode_member(
        b'{"status":"ODD","serviceEndpoint":{"host":"h"},"additionalEndpoints":{"a":{"port":1},"b":7,'
        b'"c":{"port":2,"host":"h","zone":"z"}}}'
    )
    assert member == ServersetMember(None, {"c": Endpoint("h", 2, {"zone": "z"})}, Status.UNKNOWN)


@pytest.mark.rule("D9")
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ('"additionalEndpoints":null', {}),
        ('"additionalEndpoints":[]', {}),
        ('"additionalEndpoints":{"a":null}', {}),
        ('"additionalEndpoints":{"a":{"host":"h","port":"2"}}', {"additional_endpoints": {"a": Endpoint("h", 2)}}),
        ('"shard":null', {}),
        ('"shard":"3"', {"shard": 3}),
        ('"shard":"a"', {}),
        ('"metadata":null', {}),
        ('"metadata":[]', {}),
        ('"metadata":{"a":1,"b":null,"c":"d"}', {"metadata": {"a": "1", "c": "d"}}),
        ('"status":null', {"status": Status.UNKNOWN}),
        ('"status":1', {"status": Status.UNKNOWN}),
        ('"serviceEndpoint":{"host":"h","port":"1"}', {}),
        ('"serviceEndpoint":null', {"service_endpoint": None}),
        ('"serviceEndpoint":{"host":null,"port":1}', {"service_endpoint": None}),
    ],
)
def test_odd_field_of_a_serverset_member_is_as_absent_as_for_finagle(field: str, expected: dict[str, Any]) -> None:
    data = (
        '{"serviceEndpoint":{"host":"h","port":1},"status":"ALIVE",' + field + "}"
    )  # of two of a name the last counts
    assert decode_member(data.encode()) == dataclasses.replace(ServersetMember(Endpoint("h", 1)), **expected)


@pytest.mark.parametrize("data", [b"[]", b"null", b"", b"\xff"])
def test_bad_serverset_member_is_a_payload_error(data: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_member(data)


def test_only_alive_members_of_a_serverset_are_enabled() -> None:
    serverset = new("serverset")
    for status in Status:
        member = serverset.decode("member_1", encode_member(ServersetMember(Endpoint("h", 1), status=status)), 5)
        assert (member.host, member.port, member.czxid) == ("h", 1, 5)
        assert member.enabled is (status is Status.ALIVE)
    assert not serverset.decode("member_1", b'{"status":"ALIVE"}', 5).enabled  # where would it be used?


def test_serverset_has_its_members_beside_other_znodes() -> None:
    serverset = new("serverset")
    assert [serverset.is_member(name) for name in ("member_0000000007", "vector_0000000001")] == [True, False]
    entry = serverset.entry("h1:1", b"")
    assert (entry.name, entry.mode) == ("member_", CreateMode.EPHEMERAL_SEQUENTIAL)
    assert entry.data == b'{"serviceEndpoint":{"host":"h1","port":1},"additionalEndpoints":{},"status":"ALIVE"}'
    starting = ServersetMember(Endpoint("h1", 1), status=Status.STARTING)
    assert serverset.updated(entry, starting).instance == starting


# --- names, and what is common


def test_name_is_the_znode_and_data_is_as_it_is() -> None:
    entry = new("names").entry("127.0.0.1:8897", b"\xff")
    assert (entry.name, entry.data, entry.mode) == ("127.0.0.1:8897", b"\xff", CreateMode.EPHEMERAL)
    member = new("names").decode("127.0.0.1:8897", b"\xff", 5)
    assert (member.host, member.port, member.data, member.instance) == ("127.0.0.1", 8897, b"\xff", None)
    assert (new("names").decode("worker", b"", 5).host, hash(member) == hash(member)) == (None, True)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("h:1", ("h", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]:80", ("::1", 80)),
        ("::1", None),
        ("::1:80", None),
        ("h", None),
        (":1", None),
        ("[]:1", None),
        ("h:", None),
        ("h:65536", None),
        ("h:-1", None),
        ("h:٣", None),
        ("h:" + "9" * 5000, None),
    ],
)
def test_address_is_split(text: str, address: tuple[str, int] | None) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize(
    ("name", "member", "data"),
    [
        ("names", ServiceInstance(), b""),
        ("names", "", b""),
        ("names", "a/b", b""),
        ("curator", "no-port", b""),
        ("curator", "h:1", b"\xff"),
        ("curator", ServersetMember(None), b""),
        ("curator", ServiceInstance("other", "i"), b""),
        ("curator", ServiceInstance("daytime", ""), b""),
        ("curator", ServiceInstance("daytime", "i"), b"data"),
        ("curator", ServiceInstance("daytime", "i", service_type=ServiceType.STATIC), b""),
        ("curator", ServiceInstance("daytime", "i", service_type=ServiceType.PERMANENT), b""),
        ("serverset", "h:1", b"data"),
        ("serverset", "no-port", b""),
        ("serverset", ServiceInstance("daytime", "i"), b""),
    ],
)
def test_what_a_layout_does_not_have_is_refused(name: str, member: Any, data: bytes) -> None:
    with pytest.raises(RegistryError):
        new(name).entry(member, data)


@pytest.mark.parametrize(("name", "contents"), [("names", ServiceInstance()), ("serverset", b"data")])
def test_what_a_layout_cannot_be_updated_with_is_refused(name: str, contents: Any) -> None:
    made = new(name).entry("h:1", b"")
    with pytest.raises(RegistryError):
        new(name).updated(made, contents)


def test_unknown_layout_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RegistryError, match="no layout 'raw'; expected names, curator or serverset"):
        new("raw")
