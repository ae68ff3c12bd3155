"""A scripted server at the other end of memory streams: ring 2, the trio shell under a virtual clock.

    servers = MemoryServers()
    async with zkwire.connect("10.0.0.1:2181", dial=servers.dial) as zk: ...

Every dialled connection has a `ServerSide` that a test plays: by default with `serve`, which shakes hands and
answers everything with success; or any coroutine function that a test puts in its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing

from tests.support.fake.wire import STAT, Sent, notification, read_request, reply
from zkwire.client.transport import StreamTransport, Transport
from zkwire.codes import OpCode, Xid
from zkwire.frames import FrameBuffer, frame
from zkwire.jute import Record, decode, encode
from zkwire.records import (
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    CreateResponse,
    ErrorResponse,
    ExistsResponse,
    GetChildrenResponse,
    GetDataResponse,
    SetDataResponse,
    SyncResponse,
)


class ServerSide:
    """The server's side of one connection."""

    def __init__(self, servers: MemoryServers, stream: trio.StapledStream[Any, Any], host: str) -> None:
        self.servers = servers
        self.stream = stream
        self.host = host
        self.connect_request: ConnectRequest | None = None
        self._inbox = FrameBuffer()

    async def read_frame(self) -> bytes | None:
        """The next payload; None at the end."""
        while (found := self._inbox.next_frame()) is None:
            data = await self.stream.receive_some()
            if not data:
                return None
            self._inbox.append(bytes(data))
        buffer, start, end = found
        return buffer[start:end]

    def unread(self, data: bytes) -> None:
        """These bytes were no answer of a four-letter word: frames begin with them."""
        self._inbox.append(data)

    async def send(self, payload: bytes) -> None:
        await self.stream.send_all(frame(payload))

    async def shake_hands(self, **changes: Any) -> None:
        """Read the ConnectRequest and grant it: a new session, or the one asked for. `changes` are of the response."""
        payload = await self.read_frame()
        assert payload is not None
        self.connect_request = request = decode(ConnectRequest, payload)
        session_id = request.session_id or self.servers.new_session_id()
        response = ConnectResponse(0, request.time_out, session_id, bytes(range(16)), request.read_only)
        await self.send(encode(response.replace(**changes)))

    async def read(self) -> Sent | None:
        """The next request; None at the end. Noted in `servers.requests`."""
        payload = await self.read_frame()
        if payload is None:
            return None
        got = read_request(payload)
        self.servers.requests.append(got)
        return got

    async def reply(self, got: Sent, record: Record | None = None, err: int = 0, zxid: int = 0) -> None:
        xid = Xid.PING if got.opcode is OpCode.PING else got.xid
        zxid = zxid or self.servers.next_zxid()
        await self.stream.send_all(reply(xid, zxid, err, record))

    async def notify(self, event_type: int, path: str) -> None:
        await self.stream.send_all(notification(event_type, path))

    async def answer(self, got: Sent) -> None:
        """With success, and with what the request suggests."""
        await self.reply(got, self.record_for(got))

    def record_for(self, got: Sent) -> Record | None:
        match got.opcode:
            case OpCode.CREATE:
                assert isinstance(got.record, CreateRequest)
                return CreateResponse(got.record.path)
            case OpCode.GET_DATA:
                return GetDataResponse((got.record.path or "").encode(), STAT)
            case OpCode.SET_DATA:
                return SetDataResponse(STAT)
            case OpCode.EXISTS:
                return ExistsResponse(STAT)
            case OpCode.GET_CHILDREN:
                return GetChildrenResponse(("a", "b"))
            case OpCode.ADD_WATCH:
                return ErrorResponse(0)
            case OpCode.SYNC:
                return SyncResponse(got.record.path)
        return None

    async def serve(self) -> None:
        """Shake hands, then answer every request in order until the client goes."""
        await self.shake_hands()
        await self.serve_on()

    async def serve_on(self) -> None:
        """Answer every request in order until the client goes."""
        while (got := await self.read()) is not None:
            await self.answer(got)
            if got.opcode is OpCode.CLOSE_SESSION:
                return


class MemoryServers:
    """All servers of a test: a script for each connection, in the order of `scripts`, the last for all further ones."""

    def __init__(self, *scripts: Callable[[ServerSide], Awaitable[None]]) -> None:
        self.scripts = list(scripts) or [ServerSide.serve]
        self.requests: list[Sent] = []
        self.conversations: list[ServerSide] = []
        self.dialled: list[tuple[float, str]] = []  # when, and which address
        self._sessions = 0
        self._zxid = 0

    def new_session_id(self) -> int:
        self._sessions += 1
        return 0x100 + self._sessions

    def next_zxid(self) -> int:
        self._zxid += 1
        return self._zxid

    async def dial(self, address: str, port: int, host_name: str) -> Transport:
        """For `connect(dial=...)`."""
        self.dialled.append((trio.current_time(), address))
        ours, theirs = trio.testing.memory_stream_pair()
        conversation = ServerSide(self, theirs, address)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.conversations.append(conversation)
        trio.lowlevel.spawn_system_task(self._play, script, conversation)
        await trio.lowlevel.checkpoint()
        return StreamTransport(ours)

    async def _play(self, script: Callable[[ServerSide], Awaitable[None]], conversation: ServerSide) -> None:
        try:
            await script(conversation)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went first
        finally:
            await trio.aclose_forcefully(conversation.stream)

    def opcodes(self) -> list[OpCode]:
        """What was asked for, in order, pings left out."""
        return [got.opcode for got in self.requests if got.opcode is not OpCode.PING]


async def silent(conversation: ServerSide) -> None:
    """A server that takes connections and never says a word."""
    await trio.sleep_forever()


async def refuse(conversation: ServerSide) -> None:
    """A server that closes every connection when it was asked for a session."""
    await conversation.read_frame()


async def unreachable(address: str, port: int, host_name: str) -> Transport:
    """A dial that never gets through."""
    await trio.sleep_forever()
    raise AssertionError
