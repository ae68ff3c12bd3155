"""A few frames that several tests use. Frames of real servers: golden.py."""

from __future__ import annotations

from zkwire.codes import OpCode
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import (
    CreateResponse,
    GetDataRequest,
    GetDataResponse,
    ReplyHeader,
    RequestHeader,
    Stat,
    WatcherEvent,
)

STAT = Stat(1, 1, 3, 4, 0, 0, 0, 0, 2, 0, 1)
PING = bytes.fromhex("00000008fffffffe0000000b")
GET_DATA = frame(encode(RequestHeader(1, OpCode.GET_DATA)) + encode(GetDataRequest("/app", False)))
GET_DATA_REPLY = frame(encode(ReplyHeader(1, 9, 0)) + encode(GetDataResponse(b"hi", STAT)))
CREATE_REPLY = frame(encode(ReplyHeader(2, 9, 0)) + encode(CreateResponse("/app")))
EVENT = frame(encode(ReplyHeader(-1, -1, 0)) + encode(WatcherEvent(3, 3, "/app")))
