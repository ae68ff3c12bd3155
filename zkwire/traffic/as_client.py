"""Recorded traffic, sent to a server again, and the server's replies compared with the recorded ones.

Values that differ from run to run are replaced before they are sent or compared: session ids and passwords by those
that this server gave, zxids by those of its transactions, and the paths of sequential znodes, and of znodes below them,
by its names. Three kinds of values are not compared: times, zxids of transactions that are not in the recording, and
versions and sizes of znodes that were not created in the recording.
"""

from __future__ import annotations

from typing import Any

from ..codes import ErrorCode, OpCode
from ..frames import PASSWORD_SIZE, frame
from ..jute import Record, encode
from ..multi import MultiItem, MultiSequence
from ..records import (
    ConnectRequest,
    ConnectResponse,
    Create2Response,
    CreateResponse,
    GetSASLRequest,
    RequestHeader,
    SetSASLResponse,
    SetWatches,
    SetWatches2,
    Stat,
    WatcherEvent,
)
from ..text import name_of
from .as_server import differences
from .causes import WRITES
from .conversation import SeenFrame

_CREATED = (CreateResponse, Create2Response)
_DIGITS = 10
_PATHS = ("path", "prefix_path")
_ZXIDS = ("czxid", "mzxid", "pzxid")


class Rerun:
    """Knows which value of this run replaces each recorded value. `with_secrets`: the recording has its passwords."""

    def __init__(self, *, with_secrets: bool = False) -> None:
        self._with_secrets = with_secrets
        self._sessions: dict[int, tuple[int, bytes | None]] = {}
        self._zxids: dict[int, int] = {}
        self._paths: dict[str, str] = {}
        self._last_zxid = 0

    # --- requests

    def why_not_sent(self, recorded: SeenFrame) -> str | None:
        """Why this request cannot be sent again; None if it can."""
        if recorded.opcode == OpCode.AUTH and not self._with_secrets:
            return "its secret was left out of the recording (zkwire tap --secrets keeps it)"
        if isinstance(recorded.record, GetSASLRequest):
            return "a SASL exchange is never the same twice"
        return None

    def request(self, recorded: SeenFrame) -> bytes:
        """The frame to send."""
        record = recorded.record
        if isinstance(record, ConnectRequest):
            session, password = self._sessions.get(record.session_id, (0, bytes(PASSWORD_SIZE)))
            return frame(encode(record.replace(session_id=session, passwd=password, last_zxid_seen=self._last_zxid)))
        changed = self._renamed(record)
        if isinstance(changed, (SetWatches, SetWatches2)):
            known = self._zxids.get(changed.relative_zxid, self._last_zxid)
            changed = changed.replace(relative_zxid=known)
        if changed == record or not isinstance(recorded.header, RequestHeader):
            return recorded.data  # byte for byte, so that bytes that cannot be decoded are sent too
        return frame(encode(recorded.header) + encode(changed))

    def _renamed(self, value: Any) -> Any:
        """The record with the paths of this run."""
        if isinstance(value, MultiSequence):
            return type(value)(tuple(MultiItem(header, self._renamed(body)) for header, body in value))
        if isinstance(value, (SetWatches, SetWatches2)):
            lists = {
                known.name: tuple(map(self.path, paths)) for known, paths in zip(value.FIELDS[1:], value[1:]) if paths
            }
            return value.replace(**lists)
        if isinstance(value, Record):
            names = [known.name for known in type(value).FIELDS if known.name in _PATHS]
            return value.replace(**{name: self.path(getattr(value, name)) for name in names})
        return value

    def path(self, recorded: str | None) -> str | None:
        """The path in this run for a recorded path."""
        if recorded is None:
            return None
        place = len(recorded)
        while place > 0:
            if (known := self._paths.get(recorded[:place])) is not None:
                return known + recorded[place:]
            place = recorded.rfind("/", 0, place)
        return recorded

    # --- replies

    def matches(self, recorded: SeenFrame, now: SeenFrame) -> bool:
        """Whether a frame of this run is the counterpart of a recorded one: the reply to the same request, or an event
        of the same type and path."""
        if recorded.is_notification or now.is_notification:
            was, is_now = recorded.record, now.record
            if not (isinstance(was, WatcherEvent) and isinstance(is_now, WatcherEvent)):
                return recorded.is_notification and now.is_notification
            return was.type == is_now.type and self.path(was.path) == is_now.path
        return recorded.is_handshake == now.is_handshake and recorded.xid == now.xid

    def compare(self, recorded: SeenFrame, now: SeenFrame) -> list[str]:
        """How a frame differs from the recorded one, field by field; empty: not at all. Also notes the frame's values,
        which replace recorded ones from now on."""
        self._last_zxid = max(self._last_zxid, now.zxid)
        if isinstance(recorded.record, ConnectResponse) and isinstance(now.record, ConnectResponse):
            return self._connected(recorded.record, now.record)
        if recorded.err != now.err:
            return [f"err: recorded {name_of(ErrorCode, recorded.err)}, now {name_of(ErrorCode, now.err)}"]
        if not recorded.err and recorded.opcode in WRITES:
            self._zxids[recorded.zxid] = now.zxid
        self._learn(recorded.record, now.record)
        parent = "/" if recorded.path is None else recorded.path
        return differences(self._expected(recorded.record, now.record, parent), _sorted(now.record))

    def _connected(self, recorded: ConnectResponse, now: ConnectResponse) -> list[str]:
        if now.time_out > 0 and recorded.time_out > 0:
            self._sessions[recorded.session_id] = (now.session_id, now.passwd)
        return differences(
            recorded.replace(session_id=0, passwd=b"", protocol_version=0),
            now.replace(session_id=0, passwd=b"", protocol_version=0),
        )

    def _learn(self, recorded: Any, now: Any) -> None:
        """Learn how the server named sequential znodes."""
        if isinstance(recorded, MultiSequence) and isinstance(now, MultiSequence):
            for was, is_now in zip(recorded, now):
                self._learn(was.body, is_now.body)
        elif isinstance(recorded, _CREATED) and isinstance(now, _CREATED) and recorded.path and now.path:
            stem, digits = recorded.path[:-_DIGITS], recorded.path[-_DIGITS:]
            if digits.isdigit() and self.path(stem) == now.path[:-_DIGITS] and now.path[-_DIGITS:].isdigit():
                self._paths[recorded.path] = now.path

    def _expected(self, recorded: Any, now: Any, parent: str) -> Any:
        """The recorded value as it should be in this run. A part that cannot be predicted is taken from `now`."""
        if type(recorded) is not type(now):
            return recorded
        if isinstance(recorded, MultiSequence):
            pairs = [(was, is_now.body) for was, is_now in zip(recorded, now)]
            items = [MultiItem(was.header, self._expected(was.body, body, parent)) for was, body in pairs]
            return type(recorded)((*items, *recorded[len(items) :]))
        if isinstance(recorded, Stat):
            return self._expected_stat(recorded, now)
        if isinstance(recorded, SetSASLResponse):
            return now
        if not isinstance(recorded, Record):
            return recorded
        changed: dict[str, Any] = {}
        for known, was, is_now in zip(type(recorded).FIELDS, recorded, now):
            if known.name == "path":
                changed["path"] = self.path(was)
            elif known.name == "children" and was is not None:
                under = parent.rstrip("/") + "/"
                names = [(self.path(under + name) or "").rpartition("/")[2] for name in was]
                changed["children"] = tuple(sorted(names))
            elif known.name == "ephemerals" and was is not None:
                changed["ephemerals"] = tuple(sorted(self.path(path) or "" for path in was))
            elif isinstance(was, Record):
                changed[known.name] = self._expected(was, is_now, parent)
        return recorded.replace(**changed)

    def _expected_stat(self, recorded: Stat, now: Stat) -> Stat:
        zxids = {name: self._zxids.get(getattr(recorded, name), getattr(now, name)) for name in _ZXIDS}
        owner = recorded.ephemeral_owner
        if owner in self._sessions:
            owner = self._sessions[owner][0]
        elif owner and now.ephemeral_owner:
            owner = now.ephemeral_owner
        if recorded.czxid not in self._zxids:  # it is older than the recording, so its versions are unknown
            return now.replace(ephemeral_owner=owner, **zxids)
        return recorded.replace(ctime=now.ctime, mtime=now.mtime, ephemeral_owner=owner, **zxids)


def _sorted(record: Any) -> Any:
    """The record with its lists sorted: servers give them in any order."""
    lists = {name: getattr(record, name, None) for name in ("children", "ephemerals")}
    lists = {name: tuple(sorted(names)) for name, names in lists.items() if names is not None}
    return record.replace(**lists) if lists else record
