"""The tap: what it relays, what it tells its observer, and that each fault does what it says."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import kazoo.client
import pytest
import trio

import zkwire
from tests.conftest import External
from tests.support.real.servers import Server
from tests.support.traffic import CONNECT, CONNECTED, RECEIVED, SENT, exists, no_node
from zkwire import Direction, ErrorCode, EventType, Frame, OpCode, Xid
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import ReplyHeader, RequestHeader
from zkwire.tap.tap import Tap, When, cut
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import (
    DROP,
    PASS,
    Action,
    Corrupt,
    Cut,
    Delay,
    Duplicate,
    Fault,
    Pass,
    Reorder,
    Replace,
    Side,
    first_of,
    frame_number,
    notification,
    parse_fault,
    reply_to,
    request,
)


def ping() -> bytes:
    return frame(encode(RequestHeader(Xid.PING, OpCode.PING)))


async def dial(tap: Tap) -> trio.SocketStream:
    host, port = tap.address.split(":")
    return await trio.open_tcp_stream(host, int(port))


async def read(stream: trio.SocketStream, size: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        assert piece, f"the stream ended after {data!r}"
        data += piece
    return data


async def read_all(stream: trio.SocketStream) -> bytes:
    """All bytes until the end of the stream."""
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


async def is_silent(stream: trio.SocketStream) -> bool:
    """Whether nothing, not even an end, comes for a moment."""
    with trio.move_on_after(0.2):
        await stream.receive_some()
        return False
    return True


class Ends:
    """A tap between two streams that the test holds: `client` and `server`."""

    def __init__(self, tap: Tap, listener: trio.SocketListener, client: trio.SocketStream) -> None:
        self.tap = tap
        self.listener = listener
        self.client = client
        self.server: trio.SocketStream

    async def handshake(self) -> None:
        await self.client.send_all(CONNECT)
        assert await read(self.server, len(CONNECT)) == CONNECT
        await self.server.send_all(CONNECTED)
        assert await read(self.client, len(CONNECTED)) == CONNECTED


@asynccontextmanager
async def tapped(fault: Fault | None = None) -> AsyncIterator[Ends]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(20):
        async with listener, Tap(f"127.0.0.1:{listener.socket.getsockname()[1]}") as tap:
            tap.fault = fault
            ends = Ends(tap, listener, await dial(tap))
            async with ends.client:
                ends.server = await listener.accept()
                async with ends.server:
                    yield ends


def pass_all(seen: SeenFrame) -> Pass:
    return PASS


# --- relaying


@pytest.mark.parametrize("fault", [None, pass_all])
@pytest.mark.parametrize("seed", range(5))
async def test_tap_relays_the_same_bytes_both_ways_in_whatever_pieces_they_come(fault: Fault | None, seed: int) -> None:
    random = Random(seed)
    there = CONNECT + b"".join(frame(random.randbytes(random.choice([0, 4, 8, 20, 3000]))) for _ in range(200))
    back = CONNECTED + b"".join(frame(random.randbytes(random.choice([0, 15, 16, 90, 9000]))) for _ in range(200))

    async def send(stream: trio.SocketStream, data: bytes) -> None:
        while data:
            size = random.choice([1, 3, 100, 70_000])
            await stream.send_all(data[:size])
            data = data[size:]
        await stream.send_eof()

    async with tapped(fault) as ends, trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, there)
        nursery.start_soon(send, ends.server, back)
        noted: list[bytes] = []

        async def collect(stream: trio.SocketStream) -> None:
            noted.append(await read_all(stream))

        nursery.start_soon(collect, ends.client)
        nursery.start_soon(collect, ends.server)
    assert sorted(noted) == sorted([there, back])


@pytest.mark.parametrize("fault", [None, pass_all])
async def test_tap_relays_the_beginning_of_a_frame_whose_end_never_comes(fault: Fault | None) -> None:
    async with tapped(fault) as ends:
        await ends.client.send_all(CONNECT + b"\0\0\0\x0aabc")
        await ends.client.send_eof()
        assert await read_all(ends.server) == CONNECT + b"\0\0\0\x0aabc"


async def test_tap_without_a_fault_does_not_wait_for_the_end_of_a_frame() -> None:
    async with tapped() as ends:
        await ends.client.send_all(CONNECT[:7])
        assert await read(ends.server, 7) == CONNECT[:7]


async def test_tap_asks_about_no_frame_that_has_gone_on_in_part() -> None:
    async with tapped() as ends:
        await ends.client.send_all(CONNECT[:7])
        await read(ends.server, 7)
        ends.tap.fault = lambda seen: DROP
        await ends.client.send_all(CONNECT[7:] + exists(1))
        await ends.client.send_eof()
        assert await read_all(ends.server) == CONNECT[7:]


async def test_tap_with_a_fault_asks_about_a_frame_that_comes_in_pieces() -> None:
    async with tapped(When(request(path="/a"), DROP)) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a")[:9])
        assert await is_silent(ends.server)
        await ends.client.send_all(exists(1, "/a")[9:] + exists(2, "/b"))
        await ends.client.send_eof()
        assert await read_all(ends.server) == exists(2, "/b")


@pytest.mark.parametrize("seed", range(5))
async def test_tap_relays_the_same_bytes_while_its_fault_comes_and_goes(seed: int) -> None:
    random = Random(seed)
    sent = CONNECT + b"".join(frame(random.randbytes(random.choice([0, 8, 20, 300]))) for _ in range(60))
    async with tapped() as ends:
        received = b""
        for start in range(0, len(sent), 37):
            ends.tap.fault = random.choice([None, pass_all])
            await ends.client.send_all(sent[start : start + 37])
            with trio.move_on_after(random.choice([0, 0.002])):
                received += bytes(await ends.server.receive_some())
        await ends.client.send_eof()
        assert received + await read_all(ends.server) == sent


@pytest.mark.parametrize("fault", [None, pass_all])
@pytest.mark.parametrize(("word", "answer"), [("ruok", b"imok"), ("isro", b"rw"), ("envi", b"Environment:")])
async def test_tap_relays_four_letter_words_and_their_answers(
    zookeeper: Server | External, fault: Fault | None, word: str, answer: bytes
) -> None:
    async with Tap(zookeeper.address) as tap:
        tap.fault = fault
        async with await dial(tap) as client:
            await client.send_all(word.encode())
            with trio.fail_after(10):
                assert (await read_all(client)).startswith(answer)


async def test_tap_shows_the_frames_that_the_client_made_and_read(zookeeper: Server | External, root: str) -> None:
    noted: list[SeenFrame] = []
    traced: list[Frame] = []

    def see(seen: SeenFrame) -> Pass:
        noted.append(seen)
        return PASS

    with trio.fail_after(20):
        async with Tap(zookeeper.address) as tap:
            tap.fault = see
            async with zkwire.connect(tap.address, auth=[("digest", b"a:b")], on_frame=traced.append) as zk:
                await zk.create(root, b"data", mode=zkwire.CreateMode.EPHEMERAL)
                *_, watch = await zk.get_data_and_watch(root)
                await zk.multi([zkwire.SetData(root, b"more"), zkwire.Check(root, 1)])
                await watch.wait()
                await zk.exists(root + "-missing")
    assert [each.frame._replace(now=0) for each in noted] == [each._replace(now=0) for each in traced]
    assert {each.path for each in noted} == {None, root, root + "-missing"}
    assert [each.err for each in noted if each.err] == [ErrorCode.NO_NODE]
    assert {each.connection for each in noted} == {0}
    for direction in Direction:
        mine = [each.index for each in noted if each.direction is direction]
        assert mine == list(range(len(mine)))


async def test_tap_pairs_a_hundred_requests_of_one_segment_with_their_replies_in_order(
    zookeeper: Server | External,
) -> None:
    pairs: list[tuple[str | None, str | None]] = []

    def see(seen: SeenFrame) -> Pass:
        if seen.request is not None:
            pairs.append((seen.path, seen.request.path))
            assert isinstance(seen.header, ReplyHeader)
            assert isinstance(seen.request.header, RequestHeader)
            assert seen.header.xid == seen.request.header.xid
        return PASS

    paths = [f"/missing-{number}" for number in range(100)]
    with trio.fail_after(20):
        async with Tap(zookeeper.address) as tap:
            tap.fault = see
            async with await dial(tap) as client:
                await client.send_all(CONNECT)
                await read(client, 41)
                await client.send_all(b"".join(exists(1 + place, path) for place, path in enumerate(paths)))
                replies = await read(client, 100 * 20)
    assert [struct.unpack_from(">i", replies, 20 * place + 4)[0] for place in range(100)] == list(range(1, 101))
    assert pairs == [(path, path) for path in paths]


async def test_tap_serves_kazoo(zookeeper: Server | External, root: str) -> None:
    """Another client altogether, in threads, over a cut of its connection."""

    def run(address: str) -> list[str]:
        noted: list[str] = []
        client = kazoo.client.KazooClient(address, timeout=10)
        client.start(timeout=20)
        try:
            client.create(root, b"one", ephemeral=True)
            client.get(root, watch=lambda event: noted.append(event.type))
            client.set(root, b"two")
            trio.from_thread.run_sync(tap.cut)
            data, stat = client.retry(client.get, root)
            assert (data, stat.version) == (b"two", 1)
            assert stat.ephemeralOwner == client.client_id[0]
        finally:
            client.stop()
            client.close()
        return noted

    opcodes: list[OpCode | int | None] = []

    def see(seen: SeenFrame) -> Pass:
        opcodes.append(seen.opcode)
        return PASS

    with trio.fail_after(60):
        async with Tap(zookeeper.address) as tap:
            tap.fault = see
            assert await trio.to_thread.run_sync(run, tap.address) == ["CHANGED"]
    assert tap.accepted == 2
    assert {OpCode.CREATE, OpCode.GET_DATA, OpCode.SET_DATA, OpCode.CLOSE_SESSION} <= set(opcodes)


# --- one frame's fault


async def test_tap_drops_one_reply_and_nothing_else() -> None:
    fault = When(reply_to(OpCode.EXISTS, "/b"), DROP)
    async with tapped(fault) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a") + exists(2, "/b") + exists(3, "/b"))
        await read(ends.server, 3 * len(exists(1)))
        await ends.server.send_all(no_node(1) + no_node(2) + no_node(3))
        assert await read(ends.client, 40) == no_node(1) + no_node(3)
    assert [hit.path for hit in fault.hits] == ["/b"]


async def test_frames_after_a_delayed_frame_wait_for_it() -> None:
    release = trio.Event()
    fault = When(request(path="/a"), Delay(until=release))
    async with tapped(fault) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a") + exists(2, "/b"))
        await fault.wait()
        assert await is_silent(ends.server)
        await ends.server.send_all(no_node(7))
        assert await read(ends.client, 20) == no_node(7), "the other direction goes on"
        release.set()
        assert await read(ends.server, 2 * len(exists(1))) == exists(1, "/a") + exists(2, "/b")


async def test_tap_delays_a_frame_for_seconds() -> None:
    async with tapped(When(request(), Delay(0.5))) as ends:
        await ends.handshake()
        began = trio.current_time()
        await ends.client.send_all(exists(1))
        await read(ends.server, len(exists(1)))
        assert trio.current_time() - began >= 0.5


async def test_tap_replaces_a_frame() -> None:
    async with tapped(When(request(), Replace(b"anything"))) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1) + exists(2))
        assert await read(ends.server, 8 + len(exists(2))) == b"anything" + exists(2)


async def test_tap_corrupts_a_frame() -> None:
    async with tapped(When(request(), Corrupt(12, 0x20))) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1) + exists(2))
        changed = await read(ends.server, 2 * len(exists(1)))
        assert changed == exists(1)[:12] + bytes([exists(1)[12] ^ 0x20]) + exists(1)[13:] + exists(2)


async def test_tap_duplicates_a_frame() -> None:
    async with tapped(When(request(path="/a"), Duplicate())) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1) + exists(2, "/b"))
        await ends.client.send_eof()
        assert await read_all(ends.server) == exists(1) * 2 + exists(2, "/b")


async def test_reordered_frame_is_sent_after_the_next_whenever_that_comes() -> None:
    fault = When(request(path="/a"), Reorder())
    async with tapped(fault) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a"))
        await fault.wait()
        assert await is_silent(ends.server)
        await ends.client.send_all(exists(2, "/b") + exists(3, "/c"))
        await ends.client.send_eof()
        assert await read_all(ends.server) == exists(2, "/b") + exists(1, "/a") + exists(3, "/c")


async def test_tap_that_reorders_all_swaps_them_in_pairs_and_loses_none() -> None:
    async with tapped(When(request(), Reorder(), times=None)) as ends:
        await ends.handshake()
        await ends.client.send_all(b"".join(exists(xid) for xid in (1, 2, 3, 4, 5)))
        await ends.client.send_eof()
        assert await read_all(ends.server) == b"".join(exists(xid) for xid in (2, 1, 4, 3, 5))


async def test_frame_that_waits_for_the_next_is_sent_after_it_when_the_fault_is_taken_away() -> None:
    fault = When(request(path="/a"), Reorder())
    async with tapped(fault) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a") + exists(2, "/b")[:7])
        await fault.wait()
        ends.tap.fault = None
        await ends.client.send_all(exists(2, "/b")[7:])
        await ends.client.send_eof()
        assert await read_all(ends.server) == exists(1, "/a") + exists(2, "/b")


async def test_words_make_the_same_faults_of_the_same_seed_and_traffic() -> None:
    sent = b"".join(exists(xid, f"/{xid}") for xid in range(1, 101))

    async def run(seed: int) -> bytes:
        chances = [Random(f"{seed}:{place}") for place in range(3)]
        words = ["drop request p=0.1", "corrupt request p=0.2", "reorder request p=0.3"]
        async with tapped(first_of(*map(parse_fault, words, chances))) as ends:
            await ends.handshake()
            await ends.client.send_all(sent)
            await ends.client.send_eof()
            return await read_all(ends.server)

    first, again, other = await run(1), await run(1), await run(2)
    assert first == again
    assert len({sent, first, other}) == 3


def _before() -> When:
    return cut(before=request(path="/b"))


def _inside() -> When:
    return cut(inside=request(path="/b"), at=9)


def _after() -> When:
    return cut(after=request(path="/b"))


@pytest.mark.parametrize(("make", "size"), [(_before, 0), (_inside, 9), (_after, len(exists(2, "/b")))])
async def test_tap_cuts_before_inside_and_after_a_request(make: Callable[[], When], size: int) -> None:
    async with tapped(make()) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a") + exists(2, "/b") + exists(3, "/c"))
        assert await read_all(ends.server) == exists(1, "/a") + exists(2, "/b")[:size]
        assert await read_all(ends.client) == b""


@pytest.mark.parametrize("size", [0, 1, 4, 19, 20])
async def test_tap_cuts_at_any_byte_of_a_reply(size: int) -> None:
    async with tapped(When(frame_number(RECEIVED, 2), Cut(size))) as ends:
        await ends.handshake()
        await ends.server.send_all(no_node(1) + no_node(2) + no_node(3))
        assert await read_all(ends.client) == no_node(1) + no_node(2)[:size]
        assert await read_all(ends.server) == b""


async def test_tap_cuts_the_clients_side_only() -> None:
    async with tapped(cut(before=request(), side=Side.CLIENT)) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1))
        assert await read_all(ends.client) == b""
        await ends.server.send_all(no_node(1))
        assert await is_silent(ends.server)


async def test_tap_sends_nothing_after_a_cut_of_the_side_that_it_came_from() -> None:
    async with tapped(cut(inside=request(path="/a"), at=9, side=Side.CLIENT)) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a") + exists(2, "/b"))
        assert await read(ends.server, 9) == exists(1, "/a")[:9]
        assert await is_silent(ends.server)


async def test_tap_cuts_the_servers_side_only() -> None:
    async with tapped(cut(after=request(), side=Side.SERVER)) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1))
        assert await read_all(ends.server) == exists(1)
        await ends.client.send_all(exists(2))
        assert await is_silent(ends.client)


async def test_tap_cuts_with_a_reset() -> None:
    async with tapped(cut(before=request(), reset=True)) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1))
        for stream in (ends.client, ends.server):
            with pytest.raises(trio.BrokenResourceError) as caught:
                await read_all(stream)
            assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_tap_passes_a_reset_on() -> None:
    async with tapped() as ends:
        await ends.handshake()
        ends.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await ends.server.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await read_all(ends.client)


async def test_when_leaves_out_the_first_and_stops_after_its_times() -> None:
    fault = When(request(OpCode.EXISTS), DROP, skip=1, times=2)
    async with tapped(fault) as ends:
        await ends.handshake()
        await ends.client.send_all(ping() + b"".join(exists(xid) for xid in (1, 2, 3, 4)))
        await ends.client.send_eof()
        assert await read_all(ends.server) == ping() + exists(1) + exists(4)
    await fault.wait(2)


async def test_first_of_takes_the_first_fault_that_acts() -> None:
    second = When(request(), DROP)
    async with tapped(first_of(When(request(path="/a"), Replace(ping())), second)) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a") + exists(2, "/b") + exists(3, "/c"))
        await ends.client.send_eof()
        assert await read_all(ends.server) == ping() + exists(3, "/c")
    assert [hit.path for hit in second.hits] == ["/b"]


async def test_notification_matches_events_of_its_path_only(zookeeper: Server | External, root: str) -> None:
    fault = When(notification(root), DROP)
    with trio.fail_after(20):
        async with Tap(zookeeper.address) as tap:
            tap.fault = fault
            async with zkwire.connect(tap.address) as zk:
                _, lost = await zk.exists_and_watch(root)
                *_, kept = await zk.get_children_and_watch("/")
                await zk.create(root, mode=zkwire.CreateMode.EPHEMERAL)
                assert (await kept.wait()).type is EventType.NODE_CHILDREN_CHANGED
                await zk.delete(root)
                assert lost.event is None
    assert [hit.record.type for hit in fault.hits] == [EventType.NODE_CREATED]


def test_cut_takes_exactly_one_place() -> None:
    with pytest.raises(ValueError, match="one of"):
        cut(before=request(), after=request())


# --- faults of the whole


async def test_tap_that_refuses_is_not_there_and_its_connections_go_on() -> None:
    async with tapped() as ends:
        ends.tap.refuse()
        with pytest.raises(OSError, match="connect"):
            await dial(ends.tap)
        await ends.handshake()


async def test_tap_that_is_healed_listens_again_on_its_address() -> None:
    async with tapped() as ends:
        before = ends.tap.address
        ends.tap.refuse()
        await ends.tap.heal()
        assert ends.tap.address == before
        async with await dial(ends.tap) as client, await ends.listener.accept() as server:
            await client.send_all(CONNECT)
            assert await read(server, len(CONNECT)) == CONNECT


async def test_black_hole_takes_new_connections_and_never_answers() -> None:
    async with tapped() as ends:
        ends.tap.black_hole()
        async with await dial(ends.tap) as client:
            await client.send_all(CONNECT)
            assert await is_silent(client)
        await ends.handshake()


async def test_partition_holds_both_directions_until_it_is_healed() -> None:
    async with tapped() as ends:
        await ends.handshake()
        ends.tap.partition()
        await ends.client.send_all(exists(1))
        await ends.server.send_all(no_node(9))
        async with await dial(ends.tap) as late:
            await late.send_all(CONNECT)
            assert await is_silent(ends.client)
            assert await is_silent(ends.server)
            await ends.tap.heal()
            assert await read(ends.server, len(exists(1))) == exists(1)
            assert await read(ends.client, 20) == no_node(9)
            async with await ends.listener.accept() as server:
                assert await read(server, len(CONNECT)) == CONNECT


async def test_partition_in_a_fault_holds_that_very_frame() -> None:
    def partition(seen: SeenFrame) -> Pass:
        if seen.index == 1:
            ends.tap.partition()
        return PASS

    async with tapped(partition) as ends:
        await ends.handshake()
        await ends.client.send_all(exists(1))
        assert await is_silent(ends.server)
        await ends.tap.heal()
        assert await read(ends.server, len(exists(1))) == exists(1)


async def test_tap_closes_a_client_whose_server_is_not_there() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with trio.fail_after(20):
        async with Tap(f"127.0.0.1:{port}") as tap, await dial(tap) as client:
            with pytest.raises(trio.BrokenResourceError):
                await read_all(client)


async def test_tap_of_several_servers_takes_the_next_that_answers() -> None:
    listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(3)]
    ports = [listener.socket.getsockname()[1] for listener in listeners]
    await listeners[1].aclose()
    with trio.fail_after(20):
        async with listeners[0], listeners[2], Tap(",".join(f"127.0.0.1:{port}" for port in ports)) as tap:
            reached = []
            for _ in range(3):
                async with await dial(tap), trio.open_nursery() as nursery:

                    async def accept(place: int, scope: trio.CancelScope = nursery.cancel_scope) -> None:
                        await (await listeners[place].accept()).aclose()
                        reached.append(place)
                        scope.cancel()

                    nursery.start_soon(accept, 0)
                    nursery.start_soon(accept, 2)
    assert reached == [0, 2, 2]


# --- what it tells


class Told:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pieces: list[tuple[Direction, SeenFrame | bytes, Action]] = []
        self.changed = trio.Event()

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, line: str) -> None:
        with trio.fail_after(20):
            while line not in self.lines:
                await self.changed.wait()

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self._say(f"{connection} opened {client} {server}")

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        self._say(f"{connection} unreachable {client} {reason}")

    def passed(
        self, connection: int, direction: Direction, piece: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        self.pieces.append((direction, piece, action))
        self._say(f"{connection} piece")

    def closed(self, connection: int, by: str, now: float) -> None:
        self._say(f"{connection} closed by {by}")


@asynccontextmanager
async def observed() -> AsyncIterator[tuple[Ends, Told]]:
    told = Told()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    with trio.fail_after(20):
        async with listener, Tap(f"127.0.0.1:{port}", observer=told) as tap:
            ends = Ends(tap, listener, await dial(tap))
            async with ends.client:
                client_port = ends.client.socket.getsockname()[1]
                ends.server = await listener.accept()
                async with ends.server:
                    await told.until(f"0 opened 127.0.0.1:{client_port} 127.0.0.1:{port}")
                    yield ends, told


@pytest.mark.parametrize("fault", [None, pass_all])
async def test_observer_is_told_every_byte_of_both_directions(fault: Fault | None) -> None:
    async with observed() as (ends, told):
        ends.tap.fault = fault
        await ends.handshake()
        await ends.client.send_all(exists(1) + exists(2) + b"\0\0\0\x09abc")
        await ends.client.send_eof()
        await read_all(ends.server)
        await ends.server.send_all(no_node(1))
        await ends.server.send_eof()
        await read_all(ends.client)
        await told.until("0 closed by client")
    for direction, data in (
        (SENT, CONNECT + exists(1) + exists(2) + b"\0\0\0\x09abc"),
        (RECEIVED, CONNECTED + no_node(1)),
    ):
        pieces = [piece for each, piece, _ in told.pieces if each is direction]
        assert b"".join(piece if isinstance(piece, bytes) else piece.data for piece in pieces) == data
    assert {action for *_, action in told.pieces} == {PASS}


async def test_observer_is_told_what_is_done_with_a_frame() -> None:
    async with observed() as (ends, told):
        ends.tap.fault = first_of(When(request(path="/a"), DROP), cut(before=request(path="/c")))
        await ends.handshake()
        await ends.client.send_all(exists(1, "/a") + exists(2, "/b") + exists(3, "/c"))
        await read_all(ends.server)
        await told.until("0 closed by tap")
    assert [action for *_, action in told.pieces] == [PASS, PASS, DROP, PASS, Cut(0)]


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("reset", [False, True])
async def test_observer_is_told_who_ended_the_connection(side: str, reset: bool) -> None:
    async with observed() as (ends, told):
        await ends.handshake()
        stream = ends.client if side == "client" else ends.server
        other = ends.server if side == "client" else ends.client
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        with suppress(trio.BrokenResourceError):
            await read_all(other)
        await other.aclose()
        await told.until(f"0 closed by {side}")


async def test_observer_reads_a_request_before_its_reply_whatever_waits_in_between() -> None:
    """The first of two requests is answered while the second, larger than all buffers, is still on its way."""
    large = frame(encode(RequestHeader(2, OpCode.SET_DATA)) + bytes(16 * 2**20))
    async with observed() as (ends, told):
        await ends.handshake()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ends.client.send_all, exists(1) + large)
            await read(ends.server, len(exists(1)))
            await ends.server.send_all(no_node(1))
            assert await read(ends.client, 20) == no_node(1)
            await read(ends.server, len(large))
    replies = [piece for direction, piece, _ in told.pieces if direction is RECEIVED and isinstance(piece, SeenFrame)]
    assert [reply.path for reply in replies] == [None, "/a"]


async def test_observer_is_told_that_no_server_is_there() -> None:
    told = Told()
    with trio.fail_after(20):
        async with Tap("127.0.0.1:1,127.0.0.1:2", observer=told) as tap, await dial(tap) as client:
            with pytest.raises(trio.BrokenResourceError):
                await read_all(client)
            port = client.socket.getsockname()[1]
    refused = "Connection refused"
    assert told.lines == [f"0 unreachable 127.0.0.1:{port} 127.0.0.1:1: {refused}; 127.0.0.1:2: {refused}"]


# --- its end


@pytest.mark.parametrize("held", ["partition", "delay", "nothing"])
async def test_leaving_the_block_closes_both_sides_whatever_holds_them(held: str) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(20):
        async with listener:
            async with Tap(f"127.0.0.1:{listener.socket.getsockname()[1]}") as tap:
                fault = When(request(), Delay())
                client = await dial(tap)
                server = await listener.accept()
                tap.fault = fault if held == "delay" else None
                if held == "partition":
                    tap.partition()
                await client.send_all(CONNECT + exists(1))
                if held == "delay":
                    await fault.wait()
            async with client, server:
                for stream in (client, server):
                    # Bytes that the tap left unread make the end a reset.
                    with suppress(trio.BrokenResourceError):
                        await read_all(stream)
            with pytest.raises(OSError, match="connect"):
                await dial(tap)


async def test_an_exception_of_the_block_leaves_it_as_itself() -> None:
    async def fail() -> None:
        async with Tap("127.0.0.1:1") as tap, await dial(tap):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()


async def test_what_a_fault_raises_leaves_the_block_as_itself() -> None:
    def fault(seen: SeenFrame) -> Pass:
        raise KeyError("broken fault")

    async def fail() -> None:
        async with tapped(fault) as ends:
            await ends.client.send_all(CONNECT)
            await trio.sleep_forever()

    with pytest.raises(KeyError, match="broken fault"):
        await fail()
