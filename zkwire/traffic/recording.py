"""Recorded traffic: JSON lines, of any number of connections.

    {"zkwire": "recording", "version": 1, "secrets": false}
    {"time": 1763629201.204118, "connection": 0, "client": "127.0.0.1:50412", "server": "127.0.0.1:2181"}
    {"time": 1763629201.204311, "connection": 0, "direction": ">", "bytes": "0000002d00000000..."}
    {"time": 1763629201.206950, "connection": 0, "direction": "<", "bytes": "0000002500000000...", "fault": "dropped"}
    {"time": 1763629203.118200, "connection": 0, "closed": "client"}
    {"end": 4}

Times are seconds since 1970, to the microsecond, when the bytes came to the tap. `direction` is as the client sees it:
">" is to the server. The `bytes` of a line are one frame with its length, or stray bytes, in hexadecimal. All lines of
a direction, joined, are the bytes that came. `fault` is what the tap did with the bytes in place of passing them on.
The last line has the number of lines between it and the first, so that a recording that was cut can be noticed.

The fields that dumps show as dots (zkwire.explain.dump.SECRETS) are zeros unless `secrets` is true. To explain a line:

    jq -r 'select(.bytes).bytes' FILE | sed -n 3p | zkwire explain
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..codes import OpCode
from ..frames import Direction
from ..text import counted
from .conversation import SeenFrame

VERSION = 1


class RecordedOpening(NamedTuple):
    """A client connected, through the tap, to a server."""

    time: float
    connection: int
    client: str
    server: str


class RecordedBytes(NamedTuple):
    """A frame, or stray bytes. `fault` is empty if they were passed on."""

    time: float
    connection: int
    direction: Direction
    data: bytes
    fault: str = ""


class RecordedClosing(NamedTuple):
    """The connection ended. `by` is the side that ended it: "client", "server" or "tap"."""

    time: float
    connection: int
    by: str


RecordedLine = RecordedOpening | RecordedBytes | RecordedClosing


class RecordingError(ValueError):
    """The file is not a recording, or is not whole. The message names the line."""


class Writer:
    """Makes the text of a recording, each line with its newline: `start`, then `line` for each line, then `end`."""

    def __init__(self, *, secrets: bool = False) -> None:
        self._secrets = secrets
        self._count = 0

    def start(self) -> str:
        return _text({"zkwire": "recording", "version": VERSION, "secrets": self._secrets})

    def line(self, item: RecordedLine) -> str:
        self._count += 1
        item = item._replace(time=round(item.time, 6))
        if isinstance(item, RecordedOpening):
            return _text(item._asdict())
        shown: dict[str, Any] = {"time": item.time, "connection": item.connection}
        if isinstance(item, RecordedClosing):
            return _text(shown | {"closed": item.by})
        shown |= {"direction": item.direction.value, "bytes": item.data.hex()}
        return _text(shown | {"fault": item.fault} if item.fault else shown)

    def end(self) -> str:
        return _text({"end": self._count})


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def without_secrets(seen: SeenFrame) -> bytes:
    """The frame's bytes, with zeros for passwords and credentials: a reader of the recording could log in with them."""
    if not (seen.is_handshake or seen.opcode == OpCode.AUTH):
        return seen.data
    from ..explain.dump import SECRETS, frame_spans  # late: construct takes 20 ms to load, and few frames have secrets

    data = bytearray(seen.data)
    for span in frame_spans(seen.frame):
        if span.path in SECRETS and span.value:
            data[span.end + 4 - len(span.value) : span.end + 4] = bytes(len(span.value))
    return bytes(data)


def read(lines: Iterable[str]) -> Iterator[RecordedLine]:
    """The lines of a recording, as they are read.

    Raises:
        RecordingError: a line is wrong, or the recording was cut. The lines before that place have been yielded.
    """
    number = 0
    found = 0
    for number, line in enumerate(lines, start=1):
        value = _object(line, number)
        if number == 1:
            _check_start(value)
        elif "end" in value:
            if value["end"] != found:
                raise RecordingError(
                    f"line {number}: {value['end']!r} lines should be before it, but there are {found}"
                )
            return
        else:
            found += 1
            yield _item(value, number)
    if number == 0:
        raise RecordingError("line 1: not a recording: it is empty")
    raise RecordingError(f'line {number + 1}: cut short: the last line of a recording, with its "end", is missing')


def has_secrets(first_line: str) -> bool:
    """Whether a recording with this first line has its secrets.

    Raises:
        RecordingError: it is not a recording.
    """
    value = _object(first_line, 1)
    _check_start(value)
    return value.get("secrets") is True


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        if number > 1 and not line.endswith("\n"):
            raise RecordingError(f"line {number}: cut short after {counted(len(line), 'character')}") from None
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
        what = "not a recording" if number == 1 else "not JSON"
        raise RecordingError(f"line {number}: {what}: {reason}") from None
    if not isinstance(value, dict):
        raise RecordingError(f"line {number}: expected a JSON object, got {value!r:.60}")
    return value


def _check_start(value: dict[str, Any]) -> None:
    if value.get("zkwire") != "recording":
        raise RecordingError('line 1: not a recording: that starts with {"zkwire": "recording", ...}')
    if value.get("version") != VERSION:
        raise RecordingError(f"line 1: a recording of version {value.get('version')!r}; this zkwire reads {VERSION}")


def _item(value: dict[str, Any], number: int) -> RecordedLine:
    def take(name: str, *kinds: type) -> Any:
        found = value.get(name)
        if type(found) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            got = repr(found)[:60] if name in value else "nothing"
            raise RecordingError(f"line {number}: {name}: expected {wanted}, got {got}")
        return found

    time, connection = float(take("time", float, int)), take("connection", int)
    if "closed" in value:
        return RecordedClosing(time, connection, take("closed", str))
    if "bytes" not in value:
        return RecordedOpening(time, connection, take("client", str), take("server", str))
    direction, text = take("direction", str), take("bytes", str)
    fault = take("fault", str) if "fault" in value else ""
    try:
        return RecordedBytes(time, connection, Direction(direction), bytes.fromhex(text), fault)
    except ValueError as error:
        raise RecordingError(f"line {number}: {error}") from None
