"""`zkwire send --raw` and `--connect`: any bytes, as they are, on a connection of their own, and what comes back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from ..codes import OpCode, Xid
from ..explain.dump import format_frame
from ..explain.explained import Explained, Wanted, explain, explain_frame
from ..frames import Direction, frame
from ..hosts import parse_hosts
from ..jute import encode
from ..records import AuthPacket, ConnectRequest, RequestHeader
from ..tap.dial import error_text
from ..traffic.conversation import Conversation, SeenFrame
from .common import DONE, FAILED, LIMIT, LOST, NO_SERVER, USAGE, CommandError, Paint, complain, json_line
from .explain import explained_json, lines
from .input import NotBytes, octets
from .program import connect_arguments, run_until_signal

_RECEIVE_SIZE = 64 * 1024
#: Seconds that the server has to confirm the end of the session.
_FAREWELL = 2.0


def run(options: argparse.Namespace) -> int:
    """Raises CommandError if an option is not hexadecimal, or no server is reached."""
    first = None if options.connect is None else _octets("--connect", options.connect)
    raw = None if options.raw is None else _octets("--raw", options.raw)
    arguments = connect_arguments(options)
    return run_until_signal(partial(_talk, options, arguments, first, raw))


def _octets(option: str, text: str) -> bytes:
    try:
        data = octets(text.encode(errors="surrogateescape"), "hex")
    except NotBytes as error:
        raise CommandError(f"{option}: {error}", USAGE) from None
    if not data:
        raise CommandError(f"{option}: expected bytes in hexadecimal, got none", USAGE)
    return data


async def _talk(options: argparse.Namespace, arguments: dict[str, Any], first: bytes | None, raw: bytes | None) -> int:
    with trio.move_on_after(options.wait) as patience:
        stream = await _dial(arguments)
    if patience.cancelled_caught:
        raise CommandError(f"no server took the connection within {options.wait:g} s", NO_SERVER)
    line = _Line(stream, options)
    async with stream:
        time_out = round(arguments["session_timeout"] * 1000)
        line.is_shown = first is not None
        await line.send(first or frame(encode(ConnectRequest(0, 0, time_out, 0, bytes(16), False))))
        if raw is None:
            line.show_rest()
        status = await line.until(lambda: line.response is not None)
        if status != DONE:
            return status
        line.is_shown = False
        for scheme, credentials in arguments["auth"]:
            await _authenticate(line, scheme, credentials)
        if raw is not None:
            line.is_shown = True
            await line.send(raw)
            line.show_rest()
            status = await line.until(lambda: line.is_whole and line.replies >= line.requests)
        await line.close()
    return status


async def _dial(arguments: dict[str, Any]) -> trio.abc.Stream:
    """A stream to the first server that takes one."""
    reasons = []
    for host in parse_hosts(arguments["hosts"])[0]:
        try:
            stream = await trio.open_tcp_stream(host.name, host.port)
            if arguments["ssl_context"] is None:
                return stream
            name = host.name.partition("%")[0].removesuffix(".")
            secured = trio.SSLStream(stream, arguments["ssl_context"], server_hostname=name, https_compatible=True)
            await secured.do_handshake()
            return secured
        except (OSError, trio.BrokenResourceError) as error:
            reasons.append(f"{host}: {error_text(error) if isinstance(error, OSError) else error.__cause__ or error}")
    raise CommandError("; ".join(reasons), NO_SERVER)


async def _authenticate(line: _Line, scheme: str, credentials: bytes) -> None:
    await line.send(frame(encode(RequestHeader(Xid.AUTH, OpCode.AUTH)) + encode(AuthPacket(0, scheme, credentials))))
    status = await line.until(lambda: line.replies >= line.requests)
    if status != DONE or line.err:
        raise CommandError(f"the server refused --auth of scheme {scheme!r}", status or FAILED)


class _Line:
    """The connection, and what was said on it so far. While `is_shown`, all that passes is printed."""

    def __init__(self, stream: trio.abc.Stream, options: argparse.Namespace) -> None:
        self.is_shown = True
        self.response: SeenFrame | None = None  # the ConnectResponse
        self.requests = self.replies = self.err = 0
        self.is_closed = False
        self._stream = stream
        self._options = options
        self._conversation = Conversation()
        self._paint = Paint(sys.stdout)
        self._printed = 0
        self._is_framed = True  # as far as it was sent

    @property
    def is_whole(self) -> bool:
        """Whether everything sent was whole frames. Only then is it known which answers are still to come."""
        return self._is_framed and not self._conversation.partial_size(Direction.SENT)

    async def send(self, data: bytes) -> None:
        self._take(Direction.SENT, data)
        with suppress(trio.BrokenResourceError, OSError):  # what it said before it hung up can still be read
            await self._stream.send_all(data)

    async def until(self, done: Callable[[], bool]) -> int:
        """Take what comes until that is enough. DONE; LOST when the server hung up before; FAILED when it is silent."""
        count = self.replies
        with trio.move_on_after(self._options.wait):
            while not done():
                try:
                    data = await self._stream.receive_some(_RECEIVE_SIZE)
                except (trio.BrokenResourceError, OSError):
                    data = b""
                if not data:
                    self.is_closed = True
                    self.show_rest(Direction.RECEIVED)
                    return complain(f"the server closed the connection{self._after(count)}", LOST)
                self._take(Direction.RECEIVED, bytes(data))
            return DONE
        self.show_rest(Direction.RECEIVED)
        return complain(f"the server said nothing more for {self._options.wait:g} s{self._after(count)}", FAILED)

    def _after(self, count: int) -> str:
        if self.response is None:
            return ", and has sent no ConnectResponse"
        came, left = self.replies - count, self.requests - self.replies
        return "" if not left else " without a reply" if not came else f" before {left} of the replies"

    async def close(self) -> None:
        """End the session too, where the server still reads frames."""
        granted = self.response is not None and self.response.record is not None and self.response.record.time_out > 0
        if self.is_closed or not granted or not self.is_whole:
            return
        self.is_shown = False
        await self.send(frame(encode(RequestHeader(1, OpCode.CLOSE_SESSION))))
        with trio.move_on_after(_FAREWELL), suppress(trio.BrokenResourceError, OSError):
            while await self._stream.receive_some(_RECEIVE_SIZE):
                pass

    def show_rest(self, direction: Direction = Direction.SENT) -> None:
        """The bytes of a frame that is not whole."""
        if rest := self._conversation.partial(direction):
            self._show(list(explain(rest, self._wanted(direction))), is_wrong=True)

    def _take(self, direction: Direction, data: bytes) -> None:
        for seen in self._conversation.receive(direction, data, trio.current_time()):
            if isinstance(seen, bytes):
                self._is_framed = self._is_framed and direction is Direction.RECEIVED
                self._show(list(explain(seen, self._wanted(direction))), is_wrong=True)
                continue
            found = (
                [explain_frame(seen.frame)] if seen.frame.types else list(explain(seen.data, self._wanted(direction)))
            )
            self._show(found, is_wrong=bool(seen.undecoded))
            if seen.is_handshake:
                self.response = seen if direction is Direction.RECEIVED else self.response
            elif direction is Direction.SENT:
                self.requests += seen.header is not None
            elif seen.request is not None:
                self.replies += 1
                self.err = seen.err
            if self._options.verbose and not self.is_shown:
                print(format_frame(seen.frame, limit=LIMIT), end="\n\n", file=sys.stderr)

    def _wanted(self, direction: Direction) -> Wanted:
        if direction is Direction.RECEIVED:
            return Wanted(direction, connect=self.response is None)
        return Wanted(direction, connect=self.requests == 0 and self.response is None)

    def _show(self, found: list[Explained], *, is_wrong: bool = False) -> None:
        """`is_wrong`: the bytes are not a handshake, and are shown although the handshake is not."""
        for each in found if self.is_shown or is_wrong else []:
            if self._options.json:
                print(json_line(explained_json(each)), flush=True)
            else:
                print("\n" * bool(self._printed) + "\n".join(lines(each, self._paint, LIMIT)), flush=True)
            self._printed += 1
            if each.fault:
                complain(each.fault.split("\n")[0], FAILED)
