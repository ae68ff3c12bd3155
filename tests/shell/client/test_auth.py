"""Auths and SASL on each connection, and replies to them that never come."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.support.fake.memory import MemoryServers, ServerSide, silent
from tests.support.fake.scripts import connect, shake_and_go, until
from zkwire import (
    AuthFailedError,
    ConnectionLossError,
    ErrorCode,
    KeeperState,
    NoServerError,
    OpCode,
    SessionExpiredError,
)
from zkwire.records import SetSASLResponse


async def test_auth_refused_ends_the_client(autojump_clock: MockClock) -> None:
    async def refuse_auth(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, err=ErrorCode.AUTH_FAILED)

    with pytest.raises(AuthFailedError, match="'nonsense'"):
        async with connect(MemoryServers(refuse_auth), auth=[("nonsense", b"x")]):
            pass


@pytest.mark.rule(16)
async def test_auth_added_while_connected_is_sent_again_first_on_the_next_connection(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        for _ in range(2):
            got = await conversation.read()
            assert got is not None
            await conversation.answer(got)

    servers = MemoryServers(lose, ServerSide.serve)
    async with connect(servers, auth=[("digest", b"a:b")]) as zk:
        await zk.add_auth("digest", b"c:d")
        await until(zk, KeeperState.DISCONNECTED)
        await zk.get_data("/a")
        assert [(got.opcode, getattr(got.record, "auth", None)) for got in servers.requests] == [
            (OpCode.AUTH, b"a:b"),
            (OpCode.AUTH, b"c:d"),
            (OpCode.AUTH, b"a:b"),
            (OpCode.AUTH, b"c:d"),
            (OpCode.GET_DATA, None),
        ]


async def test_auth_added_later_is_taken_into_the_next_session(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)

    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(lose, expired, ServerSide.serve)
    async with connect(servers) as zk:
        await zk.add_auth("digest", b"a:b")
        await until(zk, KeeperState.EXPIRED)
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert [got.record.auth for got in servers.requests] == [b"a:b", b"a:b"]


async def test_leaving_while_authenticating_closes_the_session(autojump_clock: MockClock) -> None:
    async def answer_no_auth(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        while (got := await conversation.read()) is not None:
            if got.opcode is OpCode.CLOSE_SESSION:
                await conversation.answer(got)
                return

    servers = MemoryServers(answer_no_auth)
    with pytest.raises(NoServerError):
        async with connect(servers, auth=[("digest", b"a:b")], connect_timeout=1):
            pass
    assert servers.opcodes() == [OpCode.AUTH, OpCode.CLOSE_SESSION]


async def shake_and_pong(conversation: ServerSide) -> None:
    """Shake hands, and answer pings and nothing else."""
    await conversation.shake_hands()
    while (got := await conversation.read()) is not None:
        if got.opcode is OpCode.PING:
            await conversation.answer(got)


class Mechanism:
    """Two tokens each way."""

    def start(self) -> bytes:
        return b"first"

    def step(self, challenge: bytes) -> bytes | None:
        return None if challenge == b"proof" else b"second"


async def sasl_serve(conversation: ServerSide) -> None:
    await conversation.shake_hands()
    for token in (b"challenge", b"proof"):
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, SetSASLResponse(token))
    await conversation.serve_on()


async def sasl_serve_and_go(conversation: ServerSide) -> None:
    await conversation.shake_hands()
    for token in (b"challenge", b"proof"):
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, SetSASLResponse(token))


@pytest.mark.rule(13, 15)
@pytest.mark.parametrize("kind", ["auth", "sasl"])
async def test_reply_to_auth_or_sasl_that_is_lost_at_a_reconnect_costs_one_attempt(
    kind: str, autojump_clock: MockClock
) -> None:
    async def serve_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)

    options: dict[str, Any]
    if kind == "auth":
        servers = MemoryServers(serve_and_go, shake_and_pong, ServerSide.serve)
        options = {"auth": [("digest", b"a:b")]}
    else:
        servers, options = MemoryServers(sasl_serve_and_go, shake_and_pong, sasl_serve), {"sasl": Mechanism()}
    async with connect(servers, **options) as zk:
        session_id = zk.session_id
        await until(zk, KeeperState.DISCONNECTED)
        began = trio.current_time()
        await zk.get_data("/a")
        assert trio.current_time() - began < 4.0
        assert zk.session_id == session_id


@pytest.mark.rule(16)
async def test_add_auth_without_a_server_ends_as_every_call_does(autojump_clock: MockClock) -> None:
    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(shake_and_go, expired, silent)
    async with connect(servers) as zk:
        await until(zk, KeeperState.EXPIRED)
        ended: list[float] = []

        async def ask(what: Awaitable[Any]) -> None:
            with pytest.raises(ConnectionLossError, match="not sent; no server"):
                await what
            ended.append(trio.current_time())

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, zk.add_auth("digest", b"a:b"))
            nursery.start_soon(ask, zk.get_data("/a"))
        assert ended == pytest.approx([began + 12.0] * 2)


@pytest.mark.rule(16)
async def test_add_auth_ends_with_its_session_as_every_call_does(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(shake_and_go, silent), new_session=False) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        with trio.fail_after(12.1), pytest.raises(SessionExpiredError):
            await zk.add_auth("digest", b"a:b")


@pytest.mark.rule(16)
async def test_add_auth_whose_reply_is_lost_is_answered_on_the_next_connection(autojump_clock: MockClock) -> None:
    servers = MemoryServers(shake_and_pong, ServerSide.serve)
    async with connect(servers) as zk:
        began = trio.current_time()
        await zk.add_auth("digest", b"a:b")
        assert trio.current_time() - began == pytest.approx(6.0, abs=0.1), "2/3 of the timeout"
        await zk.get_data("/a")
        assert servers.opcodes() == [OpCode.AUTH, OpCode.AUTH, OpCode.GET_DATA]


async def test_add_auth_that_is_never_answered_fails_and_the_client_goes_on_without_it(
    autojump_clock: MockClock,
) -> None:
    async def no_auth(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        while (got := await conversation.read()) is not None:
            if got.opcode is not OpCode.AUTH:
                await conversation.answer(got)

    async with connect(MemoryServers(no_auth)) as zk:
        began = trio.current_time()
        with pytest.raises(ConnectionLossError, match=r"auth .*no server: no reply to auth in time"):
            await zk.add_auth("digest", b"a:b")
        assert trio.current_time() - began < 6 + 12 + 4
        assert (await zk.get_data("/a"))[0] == b"/a"


async def test_requests_end_while_a_configured_auth_is_never_answered(autojump_clock: MockClock) -> None:
    async def answer_one_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.answer(got)

    async with connect(MemoryServers(answer_one_and_go, shake_and_pong), auth=[("digest", b"a:b")]) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        for _ in range(2):
            with trio.fail_after(12.1), pytest.raises(ConnectionLossError, match="no reply to auth in time"):
                await zk.get_data("/a")
