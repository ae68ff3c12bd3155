"""Entries as lines of text, and as JSON.

    #0 connect new session, 10 s -> session 0x100000a1b2c0000, 10 s  1.32 ms
    #0 create xid=1 /demo, 2 bytes, EPHEMERAL -> OK zxid=0x5  0.81 ms
    #0 getData xid=2 /demo, watch -> OK 2 bytes, version 0 zxid=0x5  0.22 ms
    #0 event NODE_DATA_CHANGED /demo zxid=0x6 by #1 setData xid=4, 0.40 ms after it was sent; watch of getData xid=2

A latency is the time from the moment when the request came to the tap until the reply came to it. Secrets are left out,
as in dumps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..codes import AddWatchMode, CreateMode, ErrorCode, EventType, WatcherType
from ..explain.plain import SECRETS, as_json
from ..multi import MultiSequence
from ..operations import operation_name
from ..records import ACL, ConnectRequest, ConnectResponse, SetWatches, SetWatches2, Stat
from ..text import counted, hexadecimal, name_of, printable
from .causes import AnsweredRequest
from .conversation import SeenFrame
from .entries import (
    ConnectionClosed,
    ConnectionOpened,
    Entry,
    EventSeen,
    Exchange,
    FaultInjected,
    Handshake,
    ServerUnreachable,
    StrayBytesSeen,
    UnansweredRequest,
    new_frames,
)
from .faults import Action

_WORLD = ("world", "anyone")
_SHOWN_ITEMS = 6

# --- text


def entry_text(entry: Entry) -> str:
    """One line, without the time and without a newline."""
    return printable(f"#{entry.connection} {_text(entry)}")


def _text(entry: Entry) -> str:
    match entry:
        case ConnectionOpened(client=client, server=server):
            return f"opened {client} to {server}"
        case ServerUnreachable(client=client, reason=reason):
            return f"no server for {client}: {reason}"
        case Handshake(request=request, response=response):
            asked = "" if request is None else _connect_request(request.record)
            return f"connect {asked} -> {_connect_response(response.record)}{_latency(request, response)}"
        case Exchange(request=None, reply=reply):
            return f"reply xid={reply.xid} to no request that was seen -> {_outcome(reply)}"
        case Exchange(request=request, reply=reply):
            assert request is not None
            return f"{request_text(request)} -> {_outcome(reply)}{_latency(request, reply)}"
        case UnansweredRequest(request=request, now=now):
            what = f"connect {_connect_request(request.record)}" if request.is_handshake else request_text(request)
            return f"{what} -> NO REPLY: the connection ended {_ms(now - request.frame.now)} later"
        case EventSeen():
            return _event(entry)
        case FaultInjected(seen=seen, action=action):
            return f"FAULT {frame_text(seen)}: {action}"
        case StrayBytesSeen(direction=direction, what=what):
            return f"{direction.value} {what}; its bytes are passed on"
    left = f", {entry.unanswered} without a reply" if entry.unanswered else ""
    return f"closed by the {entry.by}{left}"


def frame_text(seen: SeenFrame) -> str:
    """A single frame in short, with its direction."""
    if seen.is_notification:
        record = seen.record
        what = "event" if record is None else f"event {name_of(EventType, record.type)} {record.path}"
    elif seen.is_handshake:
        what = "connect"
    elif seen.request is None and seen.opcode is None:
        what = f"reply xid={seen.xid}" if seen.header is not None else "a frame without a header"
    else:
        what = request_text(seen if seen.request is None else seen.request)
    return f"{seen.direction.value} {what}"


def request_text(request: SeenFrame) -> str:
    """A request in short: operation, xid, path and fields."""
    if request.header is None:
        return f"a frame of {counted(len(request.data), 'byte')}, too short for a request"
    words = f"{operation_name(request.opcode)} xid={request.xid}"
    if request.undecoded:
        return f"{words} (undecoded)"
    if request.record is None:
        return words
    details = ", ".join(_details(request.record))
    return f"{words} {details}" if details else words


def _details(record: Any) -> Iterator[str]:
    if isinstance(record, MultiSequence):
        items = [f"{operation_name(item.header.type)} {', '.join(_details(item.body))}" for item in record]
        shown = "; ".join(items[:_SHOWN_ITEMS])
        more = f"; {len(items) - _SHOWN_ITEMS} more" if len(items) > _SHOWN_ITEMS else ""
        yield f"[{shown}{more}]"
        return
    if isinstance(record, (SetWatches, SetWatches2)):
        watches = counted(sum(len(paths or ()) for paths in record[1:]), "watch")
        yield f"{watches} since zxid {hexadecimal(record.relative_zxid)}"
        return
    for field, value in zip(type(record).FIELDS, record):
        if f"{type(record).__name__}.{field.name}" not in SECRETS and (said := _detail(field.name, value)):
            yield said


def _detail(name: str, value: Any) -> str:
    """A field of a request in short; "" for a value that most requests have."""
    match name, value:
        case (("path" | "prefix_path" | "scheme" | "joining_servers" | "leaving_servers" | "new_members"), str()):
            return value
        case (("data" | "token"), _):
            return size_text(value)
        case "watch", True:
            return "watch"
        case "version", int() if value != -1:
            return f"version {value}"
        case "flags", int() if value != CreateMode.PERSISTENT:
            return name_of(CreateMode, value)
        case "mode", int():
            return name_of(AddWatchMode, value)
        case "ttl", int():
            return f"ttl {value} ms"
        case "acl", tuple() if any((entry.id.scheme, entry.id.id) != _WORLD for entry in value):
            return "ACL " + " ".join(_acl(entry) for entry in value)
        case "type", int() if value in set(WatcherType):
            return name_of(WatcherType, value)
    return ""


def _acl(entry: ACL) -> str:
    return f"{entry.id.scheme}:{entry.id.id.split(':')[0] if entry.id.id else ''}:{entry.perms}"


def size_text(data: bytes | None) -> str:
    return "null" if data is None else counted(len(data), "byte")


def _outcome(reply: SeenFrame) -> str:
    """The error, or OK and the result."""
    failed = reply.failure
    words = [] if reply.header is None else [name_of(ErrorCode, failed)]
    if not failed and reply.record is not None:
        said = ", ".join(_result(reply))
        words += [said] if said else []
    if reply.undecoded:
        words.append("(undecoded)")
    if reply.header is not None and reply.zxid > 0:
        words.append(f"zxid={hexadecimal(reply.zxid)}")
    return " ".join(words)


def _result(reply: SeenFrame) -> Iterator[str]:
    record = reply.record
    if isinstance(record, MultiSequence):
        created = [item.body.path for item in record if item.body is not None and hasattr(item.body, "path")]
        yield counted(len(record), "result")
        yield from created[:_SHOWN_ITEMS]
        return
    for name, value in zip((field.name for field in type(record).FIELDS), record):
        if name == "path" and value != reply.path:
            yield str(value)
        elif name in ("data", "token"):
            yield size_text(value)
        elif name == "children":
            yield counted(len(value or ()), "child")
        elif name == "ephemerals":
            yield counted(len(value or ()), "ephemeral")
        elif name == "total_number":
            yield str(value)
        elif name == "client_info":
            yield from (f"{info.auth_scheme}:{info.user}" for info in value or ())
        elif isinstance(value, Stat):
            yield f"version {value.version}"


def _connect_request(record: ConnectRequest | None) -> str:
    if record is None:
        return "(undecoded)"
    session = f"session {hexadecimal(record.session_id)}" if record.session_id else "new session"
    read_only = ", read-only allowed" if record.read_only else ""
    return f"{session}, {record.time_out / 1000:g} s{read_only}"


def _connect_response(record: ConnectResponse | None) -> str:
    if record is None:
        return "(undecoded)"
    if record.time_out <= 0:
        return "REFUSED: the session is expired, or the password is wrong"
    read_only = ", read-only" if record.read_only else ""
    return f"session {hexadecimal(record.session_id)}, {record.time_out / 1000:g} s{read_only}"


def _event(entry: EventSeen) -> str:
    record, cause = entry.event.record, entry.cause
    if record is None:
        return "event (undecoded)"
    words = f"event {name_of(EventType, record.type)} {record.path}"
    if entry.event.zxid > 0:
        words += f" zxid={hexadecimal(entry.event.zxid)}"
    if cause.write is None:
        words += " by no write that was seen"
    else:
        likely = "" if cause.certain else "likely "
        after = _ms(entry.now - cause.write.now)
        words += f" {likely}by #{cause.write.connection} {_answered(cause.write)}, {after} after it was sent"
    return words + (f"; watch of {_answered(cause.armed)}" if cause.armed is not None else "")


def _answered(request: AnsweredRequest) -> str:
    return f"{operation_name(request.opcode)} xid={request.xid}"


def _latency(request: SeenFrame | None, reply: SeenFrame) -> str:
    return "" if request is None else f"  {_ms(reply.frame.now - request.frame.now)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


# --- JSON


def entry_json(entry: Entry, epoch: float = 0.0, *, show_secrets: bool = False) -> dict[str, Any]:
    """An entry as JSON, as zkwire/explain/plain.py describes. `kind` says which entry it is. If a frame could not be
    decoded, `undecoded` says why.

    Args:
        epoch: added to the times of the entry, it gives seconds since 1970.
        show_secrets: passwords and credentials too.
    """
    shown: dict[str, Any] = {
        "kind": _KINDS[type(entry)],
        "time": round(entry.now + epoch, 6),
        "connection": entry.connection,
        "session": hexadecimal(entry.session) if entry.session else None,
    }

    def record(seen: SeenFrame | None) -> Any:
        return None if seen is None else as_json(seen.record, show_secrets=show_secrets)

    match entry:
        case ConnectionOpened(client=client, server=server):
            shown |= {"client": client, "server": server}
        case ServerUnreachable(client=client, reason=reason):
            shown |= {"client": client, "reason": reason}
        case Handshake(request=request, response=response):
            refused = response.record is not None and response.record.time_out <= 0
            shown |= {"refused": refused, "latency_ms": _latency_ms(request, response)}
            shown |= {"request": record(request), "response": record(response)}
        case Exchange(request=request, reply=reply):
            failed = reply.failure
            shown |= _asked(reply if request is None else request)
            shown |= {"err": int(failed), "error": name_of(ErrorCode, failed), "zxid": hexadecimal(reply.zxid)}
            shown |= {"latency_ms": _latency_ms(request, reply)}
            shown |= {"request": record(request), "response": record(reply)}
        case UnansweredRequest(request=request, now=now):
            shown |= _asked(request) | {"waited_ms": _rounded(now - request.frame.now), "request": record(request)}
        case EventSeen(event=event, cause=cause):
            kind = None if event.record is None else name_of(EventType, event.record.type)
            shown |= {"type": kind, "path": event.path, "zxid": hexadecimal(event.zxid) if event.zxid > 0 else None}
            shown |= {
                "cause": _answered_json(cause.write),
                "certain": cause.certain,
                "armed_by": _answered_json(cause.armed),
            }
            if cause.write is not None:
                shown["after_ms"] = _rounded(entry.now - cause.write.now)
        case FaultInjected(seen=seen, action=action):
            shown |= _asked(seen) | {"frame": frame_text(seen), "action": _action(action), "text": str(action)}
        case StrayBytesSeen(direction=direction, what=what):
            shown |= {"direction": direction.value, "what": what}
        case _:
            shown |= {"by": entry.by, "unanswered": entry.unanswered}
    if problem := undecoded(entry):
        shown["undecoded"] = problem
    return shown


def undecoded(entry: Entry) -> str:
    """What is wrong with the bytes of the entry's frames that no earlier entry has shown; "" if nothing is wrong."""
    return "; ".join(filter(None, (seen.undecoded for seen in new_frames(entry))))


_KINDS = {
    ConnectionOpened: "opened",
    ServerUnreachable: "unreachable",
    Handshake: "connect",
    Exchange: "exchange",
    UnansweredRequest: "unanswered",
    EventSeen: "event",
    FaultInjected: "fault",
    StrayBytesSeen: "opaque",
    ConnectionClosed: "closed",
}


def _asked(seen: SeenFrame) -> dict[str, Any]:
    opcode = seen.opcode
    name = "connect" if seen.is_handshake else "event" if seen.is_notification else None
    return {
        "op": name or (None if opcode is None else operation_name(opcode)),
        "opcode": None if opcode is None else int(opcode),
        "xid": seen.xid,
        "path": seen.path,
    }


def _action(action: Action) -> str:
    return type(action).__name__.lower()


def _answered_json(request: AnsweredRequest | None) -> dict[str, Any] | None:
    if request is None:
        return None
    return {
        "connection": request.connection,
        "xid": request.xid,
        "op": operation_name(request.opcode),
        "path": request.path,
    }


def _latency_ms(request: SeenFrame | None, reply: SeenFrame) -> float | None:
    return None if request is None else _rounded(reply.frame.now - request.frame.now)


def _rounded(seconds: float) -> float:
    return round(seconds * 1000, 3)
