"""Arguments that are refused, by name, before a byte is sent; no message shows a secret."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers
from tests.support.fake.scripts import HOST, connect
from zkwire import BadArgumentsError, Check, Create, CreateMode, Delete, GetData, LocalProtocolError, SessionInfo


@pytest.mark.parametrize("timeout", [0, -1, math.inf, "10", 3e6])
def test_connect_refuses_a_bad_session_timeout(timeout: Any) -> None:
    with pytest.raises(LocalProtocolError, match="session_timeout"):
        zkwire.connect(HOST, timeout)


@pytest.mark.parametrize("timeout", [-1, math.nan, "10"])
def test_connect_refuses_a_bad_connect_timeout(timeout: Any) -> None:
    with pytest.raises(LocalProtocolError, match="connect_timeout is seconds, 0 or more, or None, not "):
        zkwire.connect(HOST, connect_timeout=timeout)


@pytest.mark.rule(76)
@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda zk: zk.create("/a", b"", mode=0), "create takes a CreateMode, not 0"),
        (lambda zk: zk.create("/a", b"", acl="open"), "create takes a sequence of ACL, not 'open'"),
        (lambda zk: zk.create("/a", "text"), "CreateRequest.data: buffer takes bytes or None, not str 'text'"),
        (lambda zk: zk.create2("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl="5"), "in seconds, not '5'"),
        (lambda zk: zk.create2("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl=math.inf), "in seconds, not inf"),
        (lambda zk: zk.create2("/a", mode=CreateMode.PERSISTENT_WITH_TTL, ttl=math.nan), "in seconds, not nan"),
        (lambda zk: zk.delete("/a", version="1"), "DeleteRequest.version: int takes a value of 4 bytes"),
        (lambda zk: zk.set_acl("/a", [None]), "SetACLRequest.acl[0]: ACL takes a ACL, not NoneType"),
        (lambda zk: zk.check_watches("/a", 7), "checkWatches takes a WatcherType, not 7"),
        (lambda zk: zk.add_watch("/a", 1), "addWatch takes an AddWatchMode, not 1"),
        (lambda zk: zk.reconfig(leaving=[3]), "reconfig takes members as str, not [3]"),
        (lambda zk: zk.reconfig(joining=5), "reconfig takes members as str, not 5"),
        (lambda zk: zk.reconfig(from_config=None), "ReconfigRequest.cur_config_id: long takes a value of 8 bytes"),
        (lambda zk: zk.multi(["/a"]), "multi takes Create, Delete, SetData and Check, not '/a'"),
        (lambda zk: zk.multi_read(["/a"]), "multiRead takes GetData and GetChildren, not '/a'"),
    ],
)
async def test_argument_of_the_wrong_type_is_refused_by_name_before_a_byte_is_sent(
    ask: Callable[[zkwire.Client], object], message: str, autojump_clock: MockClock
) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        with pytest.raises(LocalProtocolError, match=re.escape(message)):
            ask(zk)
        await trio.sleep(1)
        assert servers.opcodes() == []


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("session", 5),
        ("read_only", "no"),
        ("ssl_context", True),
        ("auth", "digest"),
        ("auth", [("digest", "text")]),
        ("sasl", "digest"),
        ("on_frame", "print"),
        ("new_session", 0),
        ("max_frame", "1 MB"),
        ("max_reply", -1),
        ("max_reply", 0),
        ("max_reply", 1e6),
        ("dial", 2181),
    ],
)
def test_connect_refuses_an_argument_of_the_wrong_type(argument: str, value: Any) -> None:
    with pytest.raises(LocalProtocolError, match=f"connect: {argument} is "):
        zkwire.connect(HOST, **{argument: value})


@pytest.mark.parametrize(
    ("argument", "value", "seen"),
    [
        ("auth", [("digest", "u:secret")], "list of (tuple of (str, str))"),
        ("auth", "u:secret", "str"),
        ("session", (5, b"a secret"), "tuple of (int, bytes)"),
        ("sasl", ("u", "secret"), "tuple of (str, str)"),
    ],
)
def test_connect_does_not_show_a_secret_of_the_wrong_type(argument: str, value: Any, seen: str) -> None:
    with pytest.raises(LocalProtocolError, match=re.escape(f", not {seen}") + "$") as caught:
        zkwire.connect(HOST, **{argument: value})
    assert "secret" not in str(caught.value)


async def test_add_auth_does_not_show_a_password_that_is_not_bytes(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with pytest.raises(LocalProtocolError, match=r"^AuthPacket\.auth: buffer takes bytes or None, not str$"):
            zk.add_auth("digest", "user:secret")  # type: ignore[arg-type]


async def test_add_auth_with_its_arguments_swapped_does_not_show_the_password(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        with pytest.raises(LocalProtocolError, match=r"^add_auth: scheme is a str, not bytes$"):
            zk.add_auth(b"user:secret", "digest")  # type: ignore[arg-type]


async def test_call_does_not_show_a_password(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers()) as zk:
        call = zk.add_auth("digest", b"user:secret")
        assert repr(call) == "<auth xid=0 AuthPacket(type=0, scheme='digest', auth=<11 bytes>)>"
        await call


@pytest.mark.parametrize(("id", "password"), [("0x100", b""), (2**63, b""), (5, "text"), (0, bytes(16))])
def test_connect_refuses_a_session_that_can_be_none(id: Any, password: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"^SessionInfo: "):
        zkwire.connect(HOST, session=SessionInfo(id, password))


@pytest.mark.parametrize("hosts", [None, ["10.0.0.1"], 2181])
def test_connect_refuses_hosts_that_are_no_text(hosts: Any) -> None:
    with pytest.raises(LocalProtocolError, match="connect: hosts is a connect string"):
        zkwire.connect(hosts)


async def test_wrong_operation_of_a_multi_is_named_by_its_number(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers) as zk:
        with pytest.raises(BadArgumentsError, match=r"multi\[1\] delete bad") as caught:
            zk.multi([Check("/a"), Delete("bad")])
        assert caught.value.index == 1
        with pytest.raises(LocalProtocolError, match=r"multi\[0\]: PERSISTENT_WITH_TTL needs a ttl"):
            zk.multi([Create("/a", mode=CreateMode.PERSISTENT_WITH_TTL)])
        with pytest.raises(LocalProtocolError, match=r"multiRead\[1\]: multiRead takes GetData and GetChildren"):
            zk.multi_read([GetData("/a"), Delete("/a")])  # type: ignore[list-item]
        assert servers.opcodes() == []
