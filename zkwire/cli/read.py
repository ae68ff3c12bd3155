"""`zkwire read`: shows what ZooKeeper's clients and servers said, from a file of captured packets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO

from ..capture import Capture, Captured, CaptureError, Link, Notice, Stray
from ..codes import ErrorCode, EventType
from ..explain.dump import format_frame, title
from ..frames import Direction
from ..operations import BY_OPCODE
from ..text import counted, hexadecimal, name_of, printable
from ..traffic.conversation import SeenFrame
from ..traffic.selection import CONNECT, SelectionError, opcodes, path_pattern
from .common import Paint, json_line
from .status import DONE, FAILED, USAGE, CommandError, complain

_BLOCK = 1 << 20
_STRAY_SHOWN = 60
_PACKETS_SHOWN = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def register(verb: str, parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows what ZooKeeper's clients and servers said, from a .pcap or .pcapng file of tcpdump or Wireshark: a line "
        "for each frame, in order of time. Times are UTC. Neither root nor Wireshark is needed. Reports what was not "
        "captured: missing bytes, fragments, the beginning of a connection. A frame whose bytes cannot be decoded is "
        "marked as undecoded, and the exit status is 1 then."
    )
    parser.add_argument(
        "file", metavar="FILE", help="a capture; - is stdin, which is read as it comes: tcpdump -U -w - | zkwire read -"
    )
    parser.add_argument(
        "--port",
        type=_port,
        action="append",
        metavar="N",
        help="a port of a server; can be repeated (default: 2181, and every port to which a ConnectRequest goes)",
    )
    parser.add_argument(
        "--op", metavar="OPERATIONS", help="only these: getData, create*, connect, or several with commas between them"
    )
    parser.add_argument("--path", metavar="PATTERN", help="only frames about these paths: /app, /app/*, /app/**")
    parser.add_argument("--hex", action="store_true", help="show every byte, annotated")
    parser.add_argument("--json", action="store_true", help="print one JSON object per frame and line")
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"expected a port, 1 to 65535, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    wanted = _wanted(options)
    capture = Capture(options.port)
    shown = _Lines(options)
    status = DONE
    undecoded: list[int] = []  # packets
    with _opened(options.file) as file:
        for captured in _in_order(file, capture, is_live=options.file == "-"):
            if isinstance(captured, CaptureError):
                sys.stdout.flush()
                status = complain(f"{options.file}: {captured}", FAILED)
                continue
            if isinstance(captured.what, SeenFrame) and captured.what.undecoded:
                undecoded.append(captured.number)
            if isinstance(captured.what, Notice) or wanted(captured.what):
                shown.show(captured)
    if undecoded:
        sys.stdout.flush()
        packets = ", ".join(map(str, undecoded[:_PACKETS_SHOWN])) + (", ..." if undecoded[_PACKETS_SHOWN:] else "")
        frames = f"{counted(len(undecoded), 'frame')} could not be decoded"
        status = complain(f"{options.file}: {frames}: packet {packets}", FAILED)
    if not capture.links and status == DONE:
        ports = ", ".join(map(str, sorted(capture.ports)))
        status = complain(
            f"{options.file}: no ZooKeeper among {counted(capture.packets, 'packet')}, {capture.segments} of them TCP: "
            f"none of port {ports}" + ("" if options.port else " and no ConnectRequest; say which with --port"),
            FAILED,
        )
    return status


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(name, "rb")
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}", USAGE) from None


def _in_order(file: BinaryIO, capture: Capture, *, is_live: bool) -> Iterator[Captured | CaptureError]:
    """Everything that the capture shows, in order of time; at the end the problem of the file, if it has one. A live
    capture is in that order already."""
    faults: list[CaptureError] = []

    def found() -> Iterator[Captured]:
        read: Callable[[int], bytes] = getattr(file, "read1", file.read)  # does not wait for the full number of bytes
        try:
            while data := read(_BLOCK):
                yield from capture.receive(data)
        except CaptureError as fault:
            faults.append(fault)
        try:
            yield from capture.end()
        except CaptureError as fault:
            faults.append(fault)

    each: Iterable[Captured] = found()
    yield from each if is_live else sorted(each, key=lambda captured: captured.order)
    yield from faults


def _wanted(options: argparse.Namespace) -> Callable[[SeenFrame | Stray], bool]:
    try:
        codes = None if options.op is None else opcodes(options.op)
        matches = None if options.path is None else path_pattern(options.path)
    except SelectionError as error:
        raise CommandError(str(error), USAGE) from None

    def wanted(seen: SeenFrame | Stray) -> bool:
        if isinstance(seen, Stray):
            return codes is None and matches is None
        opcode = CONNECT if seen.is_handshake else seen.opcode
        return (codes is None or opcode in codes) and (matches is None or any(map(matches, seen.paths)))

    return wanted


# --- one frame, as text and as JSON


def latency_ms(seen: SeenFrame) -> float | None:
    """From a request to this reply to it, in milliseconds."""
    return None if seen.request is None else (seen.frame.now - seen.request.frame.now) * 1000


def captured_json(captured: Captured) -> dict[str, Any]:
    """A frame, a notice, or bytes that are not a frame, as JSON. `kind` says which it is; the values are as
    zkwire/explain/plain.py says. Keys that do not apply are left out."""
    kind = "notice" if isinstance(captured.what, Notice) else "bytes" if isinstance(captured.what, Stray) else "frame"
    place: dict[str, Any] = {"kind": kind, "packet": captured.number, "time": captured.time_ns / 10**9}
    if captured.link is not None:
        client, server = str(captured.link.client), str(captured.link.server)
        place |= {"connection": captured.link.number, "client": client, "server": server}
    what = captured.what
    if isinstance(what, Notice):
        return place | {"notice": what.text}
    if isinstance(what, Stray):
        return place | {"direction": what.direction.value, "bytes": what.data.hex()}
    latency = latency_ms(what)
    is_reply = what.direction is Direction.RECEIVED and what.header is not None and not what.is_notification
    found = {
        "direction": what.direction.value,
        "op": _operation(what),
        "xid": what.xid,
        "path": what.path,
        "err": int(what.failure) if is_reply else None,
        "error": name_of(ErrorCode, what.failure) if is_reply else None,
        "zxid": hexadecimal(what.zxid) if what.direction is Direction.RECEIVED and what.header is not None else None,
        "event": name_of(EventType, what.record.type) if what.is_notification and what.record else None,
        "latency_ms": None if latency is None else round(latency, 3),
        "undecoded": what.undecoded or None,
        "size": len(what.frame.payload) + 4,
    }
    return place | {name: value for name, value in found.items() if value is not None}


def _operation(seen: SeenFrame) -> str | int | None:
    if seen.is_handshake:
        return "connect"
    if seen.is_notification:
        return "event"
    opcode = seen.opcode
    return BY_OPCODE[opcode].name if opcode in BY_OPCODE else opcode


class _Lines:
    """Prints what is seen."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._paint = Paint(sys.stdout)
        self._links: set[Link] = set()

    def show(self, captured: Captured) -> None:
        if self._options.json:
            print(json_line(captured_json(captured)), flush=self._options.file == "-")
            return
        if captured.link is not None and captured.link not in self._links:
            self._links.add(captured.link)
            self._print(captured, f"= {captured.link.client} to {captured.link.server}")
        what = captured.what
        if isinstance(what, Notice):
            self._print(captured, self._paint.yellow(f"! {what.text}"))
        elif isinstance(what, Stray):
            more = "" if len(what.data) <= _STRAY_SHOWN else " ..."
            data = repr(what.data[:_STRAY_SHOWN])[2:-1]
            size = counted(len(what.data), "byte", "that is")
            self._print(captured, f"{what.direction.value} {size} not a frame: {data}{more}")
        else:
            self._frame(captured, what)

    def _frame(self, captured: Captured, seen: SeenFrame) -> None:
        paint = self._paint.cyan if seen.direction is Direction.SENT else self._paint.green
        if seen.failure or seen.undecoded:
            paint = self._paint.red
        latency = latency_ms(seen)
        took = "" if latency is None else self._paint.dim(f"  {latency:.3f} ms")
        mark = f" (undecoded: {printable(seen.undecoded)})" if seen.undecoded else ""
        self._print(captured, paint(title(seen.frame, seen.path) + mark) + took)
        if self._options.hex:
            print(format_frame(seen.frame).partition("\n")[2], end="\n\n")

    def _print(self, captured: Captured, text: str) -> None:
        when = _EPOCH + timedelta(microseconds=captured.time_ns // 1000)
        link = "" if captured.link is None else f"#{captured.link.number}"
        place = f"{captured.number:>6}  {when:%H:%M:%S.%f}  {link:<4}"
        print(f"{self._paint.dim(place)}{text}", flush=self._options.file == "-")
