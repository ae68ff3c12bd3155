"""Replies that break the protocol cost the connection and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import External
from tests.support.behind import behind, outcome
from tests.support.real.servers import Server
from zkwire import ConnectionLossError, CreateMode, EventType, OpCode, Xid
from zkwire.client.call import Call
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import ReplyHeader
from zkwire.tap.tap import When
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import DROP, Action, Replace, reply_to


def _wrong_xid(seen: SeenFrame) -> Action:
    header = seen.header
    assert isinstance(header, ReplyHeader)
    return Replace(frame(encode(header.replace(xid=header.xid + 1)) + seen.frame.payload[16:]))


def _short_body(seen: SeenFrame) -> Action:
    return Replace(frame(seen.frame.payload[:-3]))


def _no_header(seen: SeenFrame) -> Action:
    return Replace(frame(seen.frame.payload[:7]))


def _negative_length(seen: SeenFrame) -> Action:
    return Replace(b"\xff\xff\xff\xff" + seen.frame.payload)


def _huge_length(seen: SeenFrame) -> Action:
    return Replace(b"\x7f\xff\xff\xff" + seen.frame.payload)


def _unasked_auth(seen: SeenFrame) -> Action:
    return Replace(frame(encode(ReplyHeader(Xid.AUTH, 0, 0))) + seen.data)


@pytest.mark.rule(2, 18)
@pytest.mark.parametrize(
    "corrupt", [_wrong_xid, _short_body, _no_header, _negative_length, _huge_length, _unasked_auth]
)
async def test_reply_that_breaks_the_protocol_costs_the_connection_and_no_more(
    zookeeper: Server | External, root: str, corrupt: Callable[[SeenFrame], Action]
) -> None:
    async with behind(zookeeper) as at:
        session_id = at.zk.session_id
        await at.zk.create(root, b"data", mode=CreateMode.EPHEMERAL)
        _, watch = await at.zk.exists_and_watch(root)
        at.fault = When(reply_to(OpCode.GET_DATA), corrupt)
        before = at.zk.exists(root)
        calls: list[Call[Any]] = [at.zk.get_data(root), at.zk.get_children(root), at.zk.sync(root)]
        assert await before is not None
        errors = [await outcome(call) for call in calls]
        assert [type(error) for error in errors] == [ConnectionLossError] * 3
        assert all("RemoteProtocolError" in error.cause for error in errors)
        assert (await at.zk.get_data(root))[0] == b"data"
        assert (at.zk.session_id, at.tap.accepted) == (session_id, 2)
        await at.zk.set_data(root, b"more")
        assert (await watch.wait()).type is EventType.NODE_DATA_CHANGED


@pytest.mark.rule(18)
async def test_dropped_reply_costs_the_connection_at_the_next_reply(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        at.fault = When(reply_to(OpCode.GET_CHILDREN), DROP)
        calls: list[Call[Any]] = [at.zk.get_children("/"), at.zk.exists(root)]
        errors = [await outcome(call) for call in calls]
        assert [type(error) for error in errors] == [ConnectionLossError] * 2
        assert await at.zk.exists(root) is None
