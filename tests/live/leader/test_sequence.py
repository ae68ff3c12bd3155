"""What real servers do when the counter of sequential names is used up: it stays where it is."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator

import pytest
import trio

from election import Election, Term
from election.leader.sequence import split
from tests.support.live import client, until_children
from tests.support.real.servers import Distribution, Server
from zkwire import CreateMode, NodeExistsError, OpCode

LAST = 2**31 - 1


def use_up(server: Server, child: str, count: int) -> None:
    """Say in the transaction log of a server that does not run that the parent's counter was `count` after the create
    of `child`, which has no data.

    FileTxnLog: 16 bytes, then entries of a checksum (long, Adler-32), a length (int), that many bytes, "B". In them a
    TxnHeader of 32 bytes, whose last field is the type, and the CreateTxn: path, data, acl, ephemeral, parentCVersion.
    """
    (log,) = server.directory.glob("data/version-2/log.*")
    content = bytearray(log.read_bytes())
    place, done = 16, False
    while place + 12 <= len(content) and (length := struct.unpack_from(">i", content, place + 8)[0]):
        entry = content[place + 12 : place + 12 + length]
        type_, name_length = struct.unpack_from(">ii", entry, 28)
        if type_ in (OpCode.CREATE, OpCode.CREATE2) and entry[36 : 36 + name_length] == child.encode():
            # Empty data, and OPEN_ACL_UNSAFE: a vector of one entry of perms, scheme and id.
            after = 36 + name_length + 4 + 4 + 4 + (4 + len("world")) + (4 + len("anyone")) + 1
            struct.pack_into(">i", entry, after, count)
            struct.pack_into(">q", content, place, zlib.adler32(entry))
            content[place + 12 : place + 12 + length] = entry
            done = True
        place += 12 + length + 1
    assert done
    log.write_bytes(content)


@pytest.fixture
def old_server(distribution: Distribution) -> Iterator[Server]:
    """A server below whose /e two more creates are possible until the last number."""

    async def create() -> None:
        async with client(server) as zk:
            await zk.create("/e", b"")
            assert await zk.create("/e/x-", b"", mode=CreateMode.PERSISTENT_SEQUENTIAL) == "/e/x-0000000000"
            await zk.delete("/e/x-0000000000")

    with Server(distribution) as server:
        trio.run(create)
        server.kill()
        use_up(server, "/e/x-0000000000", LAST - 2)
        server.start()
        yield server


@pytest.mark.rule("W12")
async def test_counter_stays_at_its_last_value(old_server: Server) -> None:
    """PrepRequestProcessor would wrap to -2147483648, but DataTree.createNode takes no smaller counter than it has."""
    async with client(old_server) as zk:
        numbers = []
        for name in "abcde":
            parts = split((await zk.create(f"/e/{name}-", b"", mode=CreateMode.PERSISTENT_SEQUENTIAL))[3:])
            assert parts is not None
            numbers.append(parts[1])
        assert numbers == [LAST - 2, LAST - 1, LAST, LAST, LAST]
        with pytest.raises(NodeExistsError):
            await zk.create("/e/e-", b"", mode=CreateMode.PERSISTENT_SEQUENTIAL)


@pytest.mark.rule("W12")
async def test_no_two_of_ours_lead_when_the_counter_is_used_up(
    old_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are equal then, and each that comes is first by its name, so that it does not wait for the leader's
    znode; the holder still lets one lead at a time."""
    guids = (f"{number:08x}-0000-4000-8000-000000000000" for number in itertools.count(2**31, -1))
    monkeypatch.setattr("election.leader.campaign.new_guid", lambda: next(guids))
    leading: list[str] = []
    led: list[str] = []
    began, all_in = trio.Event(), trio.Event()

    async def contend(name: str) -> None:
        async with client(old_server) as zk:

            async def body(term: Term) -> None:
                leading.append(name)
                began.set()
                assert leading == [name]
                await all_in.wait()
                await trio.sleep(0.02)
                leading.remove(name)
                led.append(name)

            await Election(zk, "/e", name.encode()).run(body)

    async with client(old_server) as zk, trio.open_nursery() as nursery:
        for name in ("one", "two"):
            await zk.delete(await zk.create(f"/e/{name}-", b"", mode=CreateMode.PERSISTENT_SEQUENTIAL))
        for place, name in enumerate("abcdef", start=1):
            nursery.start_soon(contend, name)
            await until_children(zk, "/e", place)
            await began.wait()
        assert {parts[1] for child in await zk.get_children("/e") if (parts := split(child))} == {LAST}
        all_in.set()
    assert led[0] == "a"
    assert sorted(led) == list("abcdef")
