"""Transports: what a socket does not take, what is lost, and what is read at once."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.scripts import HOST
from zkwire import ConnectionLossError, OpCode
from zkwire.client.transport import RECEIVE_SIZE, SocketTransport, StreamTransport, Transport


async def test_socket_transport_keeps_what_the_socket_does_not_take_and_counts_it(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    with far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport = SocketTransport(near)
        data = bytes(range(256)) * 4096
        transport.send_nowait(data)
        assert 0 < transport.unsent < len(data)
        transport.send_nowait(b"tail")
        far.setblocking(False)
        received = bytearray()

        async def read_all() -> None:
            while len(received) < len(data) + 4:
                await trio.lowlevel.wait_readable(far)
                received.extend(far.recv(65536))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all)
            nursery.start_soon(transport.drain)
        assert bytes(received) == data + b"tail"
        assert transport.unsent == 0
        await transport.aclose()


async def test_socket_transport_reports_a_broken_socket_to_the_one_who_drains(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    transport = SocketTransport(near)
    far.close()
    transport.send_nowait(b"x")
    assert transport.unsent == 1
    with pytest.raises(OSError, match="pipe"):
        await transport.drain()
    await transport.aclose()


async def test_large_request_is_written_in_pieces_while_smaller_ones_wait_after_it(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    async def dial(address: str, port: int, host_name: str) -> Transport:
        return SocketTransport(near)

    servers = MemoryServers()
    conversation = ServerSide(servers, trio.SocketStream(trio.socket.from_stdlib_socket(far)), "")  # type: ignore[arg-type]
    async with conversation.stream, trio.open_nursery() as nursery:
        nursery.start_soon(conversation.serve)
        async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
            calls = [
                zk.set_data("/big", bytes(900_000)),
                zk.set_data("/small", b""),
                zk.set_data("/big", bytes(500_000)),
            ]
            for call in calls:
                await call
        nursery.cancel_scope.cancel()
    assert [len(got.record.data) for got in servers.requests[:3]] == [900_000, 0, 500_000]


async def test_frames_not_written_are_given_back_when_the_connection_is_lost(autojump_clock: MockClock) -> None:
    """The first server takes the beginning of a large request and nothing more: the bytes after it were never sent."""
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    second = MemoryServers()
    dials = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal dials
        dials += 1
        return SocketTransport(near) if dials == 1 else await second.dial(address, port, host_name)

    first = ServerSide(second, trio.SocketStream(trio.socket.from_stdlib_socket(far)), "")  # type: ignore[arg-type]

    async def shake_hands_and_stall() -> None:
        await first.shake_hands()
        await trio.sleep(1)
        far.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake_hands_and_stall)
        async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
            large, small = zk.set_data("/large", bytes(900_000)), zk.set_data("/small", b"")
            with pytest.raises(ConnectionLossError) as caught:
                await large
            assert caught.value.written == "partly"
            assert not caught.value.maybe_applied
            await small
    assert [got.record.path for got in second.requests if got.opcode is OpCode.SET_DATA] == ["/small"]


async def test_stream_transport_counts_what_it_was_not_yet_asked_to_drain(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = StreamTransport(ours)
    transport.send_nowait(b"abc")
    assert transport.unsent == 3
    await transport.drain()
    assert transport.unsent == 0
    assert await theirs.receive_some() == b"abc"
    await transport.aclose()


async def test_socket_transport_has_nothing_then_bytes_then_the_end(autojump_clock: MockClock) -> None:
    near, far = socket.socketpair()
    transport = SocketTransport(near)
    assert transport.receive_nowait() is None
    far.send(b"abc")
    await transport.readable()
    assert transport.receive_nowait() == b"abc"
    far.close()
    await transport.readable()
    assert transport.receive_nowait() == b""
    await transport.aclose()


async def test_socket_transport_reads_more_at_once_while_what_it_reads_fills_the_buffer(
    autojump_clock: MockClock,
) -> None:
    near, far = socket.socketpair()
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 2**20)
    transport = SocketTransport(near)
    far.setblocking(False)
    sent = far.send(bytes(300_000))
    sizes: list[int] = []
    while sum(sizes) < sent:
        await transport.readable()
        sizes.append(len(transport.receive_nowait() or b""))
    assert sizes[0] == RECEIVE_SIZE
    assert max(sizes) > RECEIVE_SIZE
    far.close()
    await transport.aclose()
