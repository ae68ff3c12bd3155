"""The thin thread through all layers on a real server: what a first program does."""

from __future__ import annotations

import trio

import zkwire
from tests.conftest import External
from tests.support.real.servers import Server
from zkwire import CreateMode, EventType


async def test_a_first_program_creates_watches_and_sees_the_change(zookeeper: Server | External, root: str) -> None:
    async with zkwire.connect(zookeeper.address, 4.0) as zk:
        assert await zk.create(root, b"one", mode=CreateMode.EPHEMERAL) == root
        data, stat, watch = await zk.get_data_and_watch(root)
        assert data == b"one"
        assert stat.ephemeral_owner == zk.session_id
        names, children = await zk.get_children_and_watch("/")
        assert root[1:] in names
        await zk.set_data(root, b"two", version=0)
        assert watch.event is not None, "the event comes before the reply to one's own write"
        assert watch.event.type is EventType.NODE_DATA_CHANGED
        await zk.delete(root)
        with trio.fail_after(5):
            assert (await children.wait()).type is EventType.NODE_CHILDREN_CHANGED
