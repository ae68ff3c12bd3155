"""`Recorder`: an observer of a tap that writes what passes to a file, as `zkwire.traffic.recording` describes."""

from __future__ import annotations

import os
import time
from io import FileIO

import trio

from ..errors import ZkwireError
from ..frames import Direction
from ..traffic.conversation import SeenFrame
from ..traffic.faults import PASS, Action
from ..traffic.recording import RecordedBytes, RecordedClosing, RecordedOpening, Writer, without_secrets


class RecorderError(ZkwireError):
    """The file cannot be written. The message has its path and the reason."""


class WallClock:
    """Trio's clock as seconds since 1970. The wall clock is read once, at the first use, because it may jump."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def of(self, now: float) -> float:
        """Seconds since 1970 at trio's time `now`."""
        if self._offset is None:
            self._offset = time.time() - trio.current_time()
        return now + self._offset


class Recorder:
    """Writes one recording. For `with`: it begins when the block is entered, and ends with the block.

    Args:
        path: the file; it is overwritten, and only its owner may read it.
        clock: gives the times of the lines.
        with_secrets: False writes zeros for passwords and credentials.

    Raises RecorderError when the file cannot be opened or written.
    """

    def __init__(self, path: str, clock: WallClock, *, with_secrets: bool) -> None:
        self._path = path
        self._clock = clock
        self._with_secrets = with_secrets
        self._writer = Writer(secrets=with_secrets)
        self._file: FileIO

    def __enter__(self) -> Recorder:
        try:
            # Only its owner may read it: it has the data of znodes, and with secrets also passwords.
            self._file = FileIO(self._path, "w", opener=lambda path, flags: os.open(path, flags, 0o600))
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._write(self._writer.start())
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._write(self._writer.end())

    def opened(self, connection: int, client: str, server: str, now: float) -> None:
        self._write(self._writer.line(RecordedOpening(self._clock.of(now), connection, client, server)))

    def unreachable(self, connection: int, client: str, reason: str, now: float) -> None:
        """Nothing passed, so nothing is written."""

    def passed(
        self, connection: int, direction: Direction, seen: SeenFrame | bytes, action: Action, now: float
    ) -> None:
        if isinstance(seen, SeenFrame):
            seen = seen.data if self._with_secrets else without_secrets(seen)
        fault = "" if action == PASS else str(action)
        self._write(self._writer.line(RecordedBytes(self._clock.of(now), connection, direction, seen, fault)))

    def closed(self, connection: int, by: str, now: float) -> None:
        self._write(self._writer.line(RecordedClosing(self._clock.of(now), connection, by)))

    def _write(self, line: str) -> None:
        """Write without a buffer, so that a reader of the file sees everything that has passed."""
        data = line.encode()
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> RecorderError:
        return RecorderError(f"{self._path}: {error.strerror or error}")
