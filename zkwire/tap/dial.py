"""Connects to the first of several servers that takes the connection; listens; says in words why either failed."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import trio

from ..errors import NoServerError
from ..hosts import Host

T = TypeVar("T")


async def open_tcp(host: Host) -> trio.SocketStream:
    """A TCP connection. Raises OSError."""
    return await trio.open_tcp_stream(host.name, host.port)


async def dial(hosts: Iterable[Host], connect: Callable[[Host], Awaitable[T]]) -> tuple[Host, T]:
    """The first host that takes a connection, and the result of `connect` for it.

    Raises:
        NoServerError: no host took one. The message has the reason for each.
    """
    reasons = []
    for host in hosts:
        try:
            return host, await connect(host)
        except (OSError, trio.BrokenResourceError) as error:
            reasons.append(f"{host}: {error_text(error)}")
    raise NoServerError("; ".join(reasons))


async def listen(host: Host) -> tuple[list[trio.SocketListener], Host]:
    """Listen on this address; the second value is the address with its port, where 0 was asked for. Raises OSError."""
    listeners = await trio.open_tcp_listeners(host.port, host=host.name)
    return listeners, host._replace(port=listeners[0].socket.getsockname()[1])


def error_text(error: OSError | trio.BrokenResourceError) -> str:
    """Why a host was not reached, or why an address cannot be listened on, in a few words. trio tries each address of a
    host; the text is about the first."""
    cause = error.__cause__
    if not isinstance(error, OSError):
        return str(cause or error)
    nested = getattr(cause, "exceptions", None)
    if nested:
        cause = nested[0]
    shown = cause if isinstance(cause, OSError) else error
    known = isinstance(shown.errno, int) and shown.errno > 0 and not isinstance(shown, socket.gaierror)
    return os.strerror(shown.errno or 0) if known else str(shown.strerror or shown)
