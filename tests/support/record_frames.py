"""Records tests/frames/ from real servers, one directory for each ZooKeeper version found: `make frames`.

    python -m tests.support.record_frames                 talk to the servers
    python -m tests.support.record_frames --reformat      only print the bytes anew, after a change of format_frame

The peer is a blocking socket with zkwire's records, not its Client: recordings do not depend on the code they test.
Every conversation has a connection and a session of its own, with xids from 1, on servers that nobody else uses. So a
recording differs from the one before in volatile fields only, and a conversation that does not differ otherwise keeps
its files.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from tests.support.golden import FRAMES, Golden, conversations, load
from tests.support.peer import Peer
from tests.support.processes import HOST, free_port
from tests.support.real.servers import Distribution, Ensemble, Server, find_distributions
from tests.support.real.special_servers import sasl_server
from zkwire import operations as op
from zkwire.codes import AddWatchMode, CreateMode, ErrorCode, EventType, OpCode, WatcherType, Xid
from zkwire.frames import Direction
from zkwire.jute import decode_at, encode
from zkwire.multi import TERMINATOR, MultiReadRequest, MultiRequest, item
from zkwire.operations import Operation
from zkwire.records import (
    ACL,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CheckWatchesRequest,
    ConnectRequest,
    ConnectResponse,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    GetSASLRequest,
    Id,
    MultiHeader,
    ReconfigRequest,
    RemoveWatchesRequest,
    ReplyHeader,
    RequestHeader,
    SetACLRequest,
    SetDataRequest,
    SetWatches,
    SetWatches2,
    SyncRequest,
    WatcherEvent,
)
from zkwire.session.sasl import DigestMD5

#: The longest timeout that servers grant, in ms: a session that expired would change the zxids at any time.
TIME_OUT = 60000
DAY = 86_400_000  # ms: no recording takes so long that the server removes a TTL znode
OPEN = (ACL(31, Id("world", "anyone")),)
NOBODY = (ACL(0, Id("world", "anyone")),)
#: An ACL id outside the Basic Multilingual Plane: comes back in CESU-8 (rule 75).
OTTER = (*OPEN, ACL(1, Id("ip", "127.0.0.1")), ACL(1, Id("digest", "\N{OTTER}:x")))
#: What `auth` makes of bob:pw, in the form that ACLs have it.
BOB = "bob:" + base64.b64encode(hashlib.sha1(b"bob:pw").digest()).decode()
ONE_USER = (ACL(31, Id("digest", BOB)), ACL(1, Id("world", "anyone")))
#: A quota that allows one znode, itself.
NO_MORE = b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=1"
#: The first of the xids of requests that are not recorded.
CROWD = 1000
UNKNOWN_OPCODE = 99
#: The first version that has every operation: whoAmI came last.
OLDEST = (3, 7)


class RecordingError(Exception):
    """A server did not do what the conversation should show."""


class Conversation:
    """One connection whose frames are kept: `with` connects and, where the server has not, closes the session."""

    def __init__(
        self, recording: Recording, server: Server, name: str, title: str, connect: ConnectRequest | None = None
    ) -> None:
        self.name, self.title = name, title
        self._recording = recording
        self._peer = Peer(server.address)
        self._step = 0
        self._xid = 0
        self._open = False
        self._connect = connect or connect_request()
        self._shows_handshake = connect is not None

    def __enter__(self) -> Conversation:
        if not self._shows_handshake:
            self._peer.put(encode(self._connect))
            self._check(self._peer.receive() is not None, "no ConnectResponse")
            self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._open and error is None:
            self._peer.put(encode(RequestHeader(self._xid + 1, OpCode.CLOSE_SESSION)))
            while self._peer.receive() is not None:
                pass
        self._peer.close()

    # --- the handshake

    def handshake(self, *, keep_open: bool = False) -> ConnectResponse:
        """Record ConnectRequest and ConnectResponse."""
        self._send(encode(self._connect), (ConnectRequest,), None, "ConnectRequest")
        response = decode_at(ConnectResponse, *self._receive((ConnectResponse,), None, "ConnectResponse", "reply"))[0]
        if not keep_open:
            self._open = response.time_out > 0
        return response

    def bare_header(self) -> ReplyHeader:
        """The same, where the server answers with a ReplyHeader only."""
        self._send(encode(self._connect), (ConnectRequest,), None, "ConnectRequest")
        return decode_at(ReplyHeader, *self._receive((ReplyHeader,), None, "its answer, no ConnectResponse", "reply"))[
            0
        ]

    # --- requests

    def ask(self, operation: Operation, record: Any = None, err: int = 0) -> Any:
        """Record a request and its reply, and check the reply's error code. Returns the response."""
        self.request(operation, record)
        return self.reply(operation, err)

    def request(self, operation: Operation, record: Any = None) -> None:
        types = (RequestHeader,) if record is None else (RequestHeader, type(record))
        self.raw_request(operation, b"" if record is None else encode(record), types)

    def raw_request(self, operation: Operation, body: bytes, types: Sequence[Any]) -> None:
        reserved = {OpCode.PING: Xid.PING, OpCode.AUTH: Xid.AUTH}
        if operation.opcode not in reserved:
            self._xid += 1
        header = RequestHeader(reserved.get(operation.opcode, self._xid), operation.opcode)
        self._send(encode(header) + body, tuple(types), operation.opcode, f"{operation.name} request")

    def reply(self, operation: Operation, err: int = 0, types: Sequence[Any] = ()) -> Any:
        """Record the reply to the last request. `types`: the records of the body after an error."""
        if err == 0 and operation.response is not None:
            types = (operation.response,)
        what = f"{operation.name} reply"
        buffer, start, end = self._receive((ReplyHeader, *types), operation.opcode, what, "reply")
        header, offset = decode_at(ReplyHeader, buffer, start, end)
        self._check(header.xid < 0 or header.xid == self._xid, f"reply with xid {header.xid}")
        self._check(header.err == err, f"{operation.name} answered {header.err}, not {err}")
        response = None
        for record_type in types:
            response, offset = decode_at(record_type, buffer, offset, end)
        self._check(offset == end, f"{operation.name} has {end - offset} bytes behind its reply")
        if operation is op.CLOSE_SESSION and err == 0:
            self._open = False
        return response

    def ask_in_a_crowd(self, others: tuple[Operation, Any], operation: Operation, record: Any, err: int) -> None:
        """Record a request and its reply. Fifty other requests, which are not kept, are sent before it in one piece.
        How far the server is then depends on its threads, so this is repeated until the last is refused with `err`."""
        crowd = [encode(RequestHeader(CROWD + place, others[0].opcode)) + encode(others[1]) for place in range(50)]
        asked = encode(RequestHeader(self._xid + 1, operation.opcode)) + encode(record)
        for _ in range(100):
            self._peer.put(*crowd, asked)
            replies = [self._peer.receive() or b"" for _ in (*crowd, asked)]
            if decode_at(ReplyHeader, replies[-1], 0, len(replies[-1]))[0].err == err:
                self._xid += 1
                types = (RequestHeader, type(record))
                self._keep(Direction.SENT, asked, types, operation.opcode, f"{operation.name} request", "request")
                what = f"{operation.name} reply"
                self._keep(Direction.RECEIVED, replies[-1], (ReplyHeader,), operation.opcode, what, "reply")
                return
        self._check(False, f"{operation.name} was never answered {err}")

    def event(self, kind: EventType, path: str) -> None:
        """Record a notification."""
        place = self._receive((ReplyHeader, WatcherEvent), None, f"notification of {kind.name}", "event")
        header, offset = decode_at(ReplyHeader, *place)
        event, _ = decode_at(WatcherEvent, place[0], offset, place[2])
        self._check(header.xid == Xid.NOTIFICATION, f"expected a notification, got a frame with xid {header.xid}")
        self._check((event.type, event.path) == (kind, path), f"expected {kind.name} of {path}, got {event}")

    def detach(self) -> None:
        """Do not close the session: another connection resumes it."""
        self._open = False

    def end(self) -> None:
        """The server closes the connection, and says nothing more."""
        self._check(self._peer.receive() is None, "expected the end of the stream")
        self._open = False

    # --- frames

    def _send(self, payload: bytes, types: tuple[Any, ...], opcode: OpCode | int | None, what: str) -> None:
        self._peer.put(payload)
        self._keep(Direction.SENT, payload, types, opcode, what, "request")

    def _receive(
        self, types: tuple[Any, ...], opcode: OpCode | int | None, what: str, kind: str
    ) -> tuple[bytes, int, int]:
        payload = self._peer.receive()
        if payload is None:
            raise RecordingError(f"{self.name}: the stream ended, expected {what}")
        self._keep(Direction.RECEIVED, payload, types, opcode, what, kind)
        return payload, 0, len(payload)

    def _keep(
        self,
        direction: Direction,
        payload: bytes,
        types: tuple[Any, ...],
        opcode: OpCode | int | None,
        what: str,
        kind: str,
    ) -> None:
        self._step += 1
        name = f"{self.name}-{self._step:02d}-{kind}"
        version = self._recording.version
        # "getData of a znode, reply" says enough; "a data watch: setData reply" needs the operation.
        operation = what.rpartition(" ")[0]
        if operation and self.title.startswith(f"{operation} "):
            title = f"{self.title}, {what.rpartition(' ')[2]}"
        else:
            title = f"{self.title}: {what}"
        self._recording.frames.append(Golden(name, version, direction, payload, types, opcode, title))

    def _check(self, condition: bool, complaint: str) -> None:
        if not condition:
            raise RecordingError(f"{self._recording.version} {self.name}: {complaint}")


class Recording:
    """All conversations with the servers of one distribution."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution
        self.version = distribution.version
        self.frames: list[Golden] = []

    def talk(self, server: Server, name: str, title: str, connect: ConnectRequest | None = None) -> Conversation:
        return Conversation(self, server, name, title, connect)

    @contextlib.contextmanager
    def preparing(self, server: Server) -> Iterator[Conversation]:
        """A conversation that is not recorded."""
        kept = len(self.frames)
        with self.talk(server, "preparation", "") as conversation:
            yield conversation
        del self.frames[kept:]

    def ask(self, server: Server, rows: Sequence[tuple[Any, ...]]) -> None:
        """One conversation of one request and its reply for each (name, title, operation, record[, err])."""
        for name, title, operation, record, *err in rows:
            with self.talk(server, name, f"{operation.name} {title}") as conversation:
                conversation.ask(operation, record, *err)

    def run(self) -> list[Golden]:
        with Server(self.distribution) as server:
            record_creates_and_deletes(self, server)
            record_reads_and_writes(self, server)
            record_multi(self, server)
            record_watches(self, server)
            record_connection(self, server)
            record_handshakes(self, server)
        record_sasl(self)
        record_reconfig(self)
        record_limits(self)
        record_shedding(self)
        record_read_only(self)
        return self.frames


def connect_request(**changes: Any) -> ConnectRequest:
    return ConnectRequest(0, 0, TIME_OUT, 0, bytes(16), False).replace(**changes)


def create(path: str, data: bytes | None = b"", mode: CreateMode = CreateMode.PERSISTENT) -> CreateRequest:
    return CreateRequest(path, data, OPEN, mode)


# --- a standalone server


def record_creates_and_deletes(recording: Recording, server: Server) -> None:
    """Creates and deletes. Later conversations use some of these znodes."""
    with recording.preparing(server) as admin:
        for path, data in (("/app", b"hello"), ("/app/a", b""), ("/app/b", None), ("/app/doomed", b"")):
            admin.ask(op.CREATE, create(path, data))
        admin.ask(op.CREATE, CreateRequest("/private", b"", NOBODY, 0))
    container, ttl = CreateMode.CONTAINER, CreateMode.PERSISTENT_WITH_TTL
    no_node, exists = ErrorCode.NO_NODE, ErrorCode.NODE_EXISTS
    recording.ask(
        server,
        [
            ("create", "of a persistent znode", op.CREATE, create("/app/new", b"data")),
            (
                "create-sequential",
                "of a sequential znode, which gets its digits",
                op.CREATE,
                create("/app/job-", b"", CreateMode.PERSISTENT_SEQUENTIAL),
            ),
            ("create-null", "of a znode with null data", op.CREATE, create("/app/null", None)),
            ("create-NodeExists", "of a znode that is there", op.CREATE, create("/app"), exists),
            ("create-NoNode", "below a missing parent", op.CREATE, create("/missing/new"), no_node),
            (
                "create-InvalidACL",
                "with an empty ACL",
                op.CREATE,
                CreateRequest("/app/open", b"", (), 0),
                ErrorCode.INVALID_ACL,
            ),
            ("create-NoAuth", "below a parent without CREATE", op.CREATE, create("/private/x"), ErrorCode.NO_AUTH),
            (
                "create2",
                "of an ephemeral sequential znode",
                op.CREATE2,
                create("/app/member-", b"10.0.0.1:80", CreateMode.EPHEMERAL_SEQUENTIAL),
            ),
            ("create2-NodeExists", "of a znode that is there", op.CREATE2, create("/app"), exists),
            ("createContainer", "of a container", op.CREATE_CONTAINER, create("/app/container", b"", container)),
            (
                "createContainer-NodeExists",
                "of a znode that is there",
                op.CREATE_CONTAINER,
                create("/app", b"", container),
                exists,
            ),
            (
                "createTTL",
                "of a znode with a time to live of a day",
                op.CREATE_TTL,
                CreateTTLRequest("/app/ttl", b"", OPEN, ttl, DAY),
            ),
            (
                "createTTL-NodeExists",
                "of a znode that is there",
                op.CREATE_TTL,
                CreateTTLRequest("/app", b"", OPEN, ttl, DAY),
                exists,
            ),
            ("delete", "of a znode", op.DELETE, DeleteRequest("/app/doomed", 0)),
            ("delete-NoNode", "of a missing znode", op.DELETE, DeleteRequest("/missing", -1), no_node),
            ("delete-BadVersion", "at another version", op.DELETE, DeleteRequest("/app/a", 7), ErrorCode.BAD_VERSION),
            ("delete-NotEmpty", "of a znode with children", op.DELETE, DeleteRequest("/app", -1), ErrorCode.NOT_EMPTY),
        ],
    )


def record_reads_and_writes(recording: Recording, server: Server) -> None:
    """All other operations on one znode. They use the znodes of `record_creates_and_deletes`."""
    no_node, bad_version = ErrorCode.NO_NODE, ErrorCode.BAD_VERSION
    recording.ask(
        server,
        [
            ("exists", "of a znode", op.EXISTS, ExistsRequest("/app", False)),
            ("exists-NoNode", "of a missing znode", op.EXISTS, ExistsRequest("/missing", False), no_node),
            ("getData", "of a znode", op.GET_DATA, GetDataRequest("/app", False)),
            ("getData-empty", "of a znode with empty data", op.GET_DATA, GetDataRequest("/app/a", False)),
            ("getData-null", "of a znode with null data", op.GET_DATA, GetDataRequest("/app/b", False)),
            ("getData-NoNode", "of a missing znode", op.GET_DATA, GetDataRequest("/missing", False), no_node),
            (
                "getData-NoAuth",
                "of a znode that lets nobody READ",
                op.GET_DATA,
                GetDataRequest("/private", False),
                ErrorCode.NO_AUTH,
            ),
            ("setData", "at the right version", op.SET_DATA, SetDataRequest("/app/new", b"changed", 0)),
            ("setData-null", "to null", op.SET_DATA, SetDataRequest("/app/null", None, -1)),
            ("setData-BadVersion", "at another version", op.SET_DATA, SetDataRequest("/app", b"", 7), bad_version),
            ("setData-NoNode", "of a missing znode", op.SET_DATA, SetDataRequest("/missing", b"", -1), no_node),
            ("getACL", "of a znode", op.GET_ACL, GetACLRequest("/app")),
            ("getACL-NoNode", "of a missing znode", op.GET_ACL, GetACLRequest("/missing"), no_node),
            ("setACL", "with an id outside the BMP", op.SET_ACL, SetACLRequest("/app/a", OTTER, -1)),
            ("setACL-digest", "for one user, and for all to read", op.SET_ACL, SetACLRequest("/app/new", ONE_USER, 0)),
            ("setACL-BadVersion", "at another version", op.SET_ACL, SetACLRequest("/app", OPEN, 7), bad_version),
            ("getACL-CESU8", "of an id outside the BMP", op.GET_ACL, GetACLRequest("/app/a")),
            ("getChildren", "of a znode", op.GET_CHILDREN, GetChildrenRequest("/app", False)),
            (
                "getChildren-NoNode",
                "of a missing znode",
                op.GET_CHILDREN,
                GetChildrenRequest("/missing", False),
                no_node,
            ),
            ("getChildren2", "of a znode", op.GET_CHILDREN2, GetChildren2Request("/app", False)),
            (
                "getChildren2-NoNode",
                "of a missing znode",
                op.GET_CHILDREN2,
                GetChildren2Request("/missing", False),
                no_node,
            ),
            ("sync", "of a path", op.SYNC, SyncRequest("/app")),
            ("sync-missing", "of a missing znode", op.SYNC, SyncRequest("/missing")),
            ("sync-CESU8", "of a path outside the BMP", op.SYNC, SyncRequest("/\N{OTTER}")),
            ("getAllChildrenNumber", "below /app", op.GET_ALL_CHILDREN_NUMBER, GetAllChildrenNumberRequest("/app")),
            (
                "getAllChildrenNumber-NoNode",
                "of a missing znode",
                op.GET_ALL_CHILDREN_NUMBER,
                GetAllChildrenNumberRequest("/missing"),
                no_node,
            ),
            (
                "getConfig",
                "of the configuration, which is empty without an ensemble",
                op.GET_DATA,
                GetDataRequest("/zookeeper/config", False),
            ),
            (
                "reconfig-ReconfigDisabled",
                "where it is off, as by default",
                op.RECONFIG,
                ReconfigRequest(None, "2", None, -1),
                ErrorCode.RECONFIG_DISABLED,
            ),
        ],
    )
    with recording.talk(server, "create-NoChildrenForEphemerals", "create below an ephemeral znode") as c:
        c.ask(op.CREATE, create("/app/mine", b"", CreateMode.EPHEMERAL))
        c.ask(op.CREATE, create("/app/mine/child"), ErrorCode.NO_CHILDREN_FOR_EPHEMERALS)
    with recording.talk(server, "getEphemerals", "getEphemerals of this session below /app") as c:
        c.ask(op.CREATE, create("/app/mine", b"", CreateMode.EPHEMERAL))
        c.ask(op.GET_EPHEMERALS, GetEphemeralsRequest("/app"))
    # READ is asked for since 3.8.4 and 3.9.2.
    version = recording.distribution.version_tuple
    asks = version >= (3, 9, 2) or (3, 8, 4) <= version < (3, 9)
    with recording.talk(server, "exists-private", "exists of a znode that lets nobody READ") as c:
        c.ask(op.EXISTS, ExistsRequest("/private", False), ErrorCode.NO_AUTH if asks else 0)
    for operation in (op.SYNC, op.GET_EPHEMERALS):
        # A well-formed request of these cannot fail.
        name = f"{operation.name}-MarshallingError"
        with recording.talk(server, name, f"{operation.name} without its body") as c:
            c.raw_request(operation, b"", (RequestHeader,))
            c.reply(operation, ErrorCode.MARSHALLING_ERROR)


def record_multi(recording: Recording, server: Server) -> None:
    """multi and multiRead."""
    ttl = CreateTTLRequest("/multi/ttl", b"", OPEN, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, DAY)
    every = MultiRequest(
        (
            item(OpCode.CREATE, create("/multi")),
            item(OpCode.CREATE, create("/multi/job-", b"", CreateMode.PERSISTENT_SEQUENTIAL)),
            item(OpCode.CREATE2, create("/multi/two", b"2")),
            item(OpCode.CREATE_CONTAINER, create("/multi/container", b"", CreateMode.CONTAINER)),
            item(OpCode.CREATE_TTL, ttl),
            item(OpCode.SET_DATA, SetDataRequest("/multi/two", b"changed", 0)),
            item(OpCode.CHECK, CheckVersionRequest("/multi/two", 1)),
            item(OpCode.DELETE, DeleteRequest("/multi/two", 1)),
        )
    )
    failing = MultiRequest(
        (
            item(OpCode.CREATE, create("/multi/never")),
            item(OpCode.DELETE, DeleteRequest("/missing", -1)),
            item(OpCode.SET_DATA, SetDataRequest("/multi", b"never", -1)),
        )
    )
    checked = MultiRequest(
        (
            item(OpCode.CHECK, CheckVersionRequest("/app", 0)),
            item(OpCode.CREATE, create("/checked", b"done")),
        )
    )
    check = MultiRequest((item(OpCode.CHECK, CheckVersionRequest("/multi", 7)),))
    check_missing = MultiRequest((item(OpCode.CHECK, CheckVersionRequest("/missing", -1)),))
    reads = MultiReadRequest(
        (
            item(OpCode.GET_DATA, GetDataRequest("/app", False)),
            item(OpCode.GET_CHILDREN, GetChildrenRequest("/app", False)),
        )
    )
    failing_reads = MultiReadRequest(
        (
            item(OpCode.GET_DATA, GetDataRequest("/missing", False)),
            item(OpCode.GET_CHILDREN, GetChildrenRequest("/multi", False)),
        )
    )
    recording.ask(
        server,
        [
            ("multi", "of every operation it takes", op.MULTI, every),
            ("multi-NoNode", "of three, whose second fails: nothing is applied", op.MULTI, failing),
            ("multi-check", "of a check at the right version, and a create", op.MULTI, checked),
            ("multi-check-BadVersion", "of a check at another version", op.MULTI, check),
            ("multi-check-NoNode", "of a check of a missing znode", op.MULTI, check_missing),
            ("multi-empty", "of nothing", op.MULTI, MultiRequest()),
            ("multiRead", "of both operations it takes", op.MULTI_READ, reads),
            ("multiRead-NoNode", "of two, whose first fails: the other does not", op.MULTI_READ, failing_reads),
            ("multiRead-empty", "of nothing", op.MULTI_READ, MultiReadRequest()),
        ],
    )
    refused: list[tuple[Operation, Any, Any, Sequence[Any]]] = [
        (op.MULTI, OpCode.SET_ACL, SetACLRequest("/multi", OPEN, -1), ()),
        (op.MULTI_READ, OpCode.EXISTS, ExistsRequest("/multi", False), ()),
        # An error in the header, and a body after it.
        (op.MULTI_READ, OpCode.DELETE, DeleteRequest("/multi", -1), (op.MULTI_READ.response,)),
    ]
    for operation, opcode, record, types in refused:
        inner = op.BY_OPCODE[opcode].name
        with recording.talk(
            server,
            f"{operation.name}-{inner}-MarshallingError",
            f"{operation.name} of {inner}, which has no place in it",
        ) as c:
            parts: list[Any] = [MultiHeader(opcode, False, -1), record, TERMINATOR]
            c.raw_request(operation, b"".join(map(encode, parts)), [RequestHeader, *map(type, parts)])
            c.reply(operation, ErrorCode.MARSHALLING_ERROR, types)


def record_watches(recording: Recording, server: Server) -> None:
    """Every event, from every kind of watch, and the operations on watches."""
    created, deleted = EventType.NODE_CREATED, EventType.NODE_DELETED
    data, children = EventType.NODE_DATA_CHANGED, EventType.NODE_CHILDREN_CHANGED
    no_watcher = ErrorCode.NO_WATCHER
    with recording.preparing(server) as admin:
        admin.ask(op.CREATE, create("/watched"))

    with recording.talk(server, "watch-exists", "a watch on a znode to come") as c:
        c.ask(op.EXISTS, ExistsRequest("/watched/new", True), ErrorCode.NO_NODE)
        c.request(op.CREATE, create("/watched/new"))
        c.event(created, "/watched/new")
        c.reply(op.CREATE)
    with recording.talk(server, "watch-getData", "a data watch") as c:
        c.ask(op.GET_DATA, GetDataRequest("/watched/new", True))
        c.request(op.SET_DATA, SetDataRequest("/watched/new", b"1", -1))
        c.event(data, "/watched/new")
        c.reply(op.SET_DATA)
    with recording.talk(server, "watch-getChildren", "a child watch") as c:
        c.ask(op.GET_CHILDREN, GetChildrenRequest("/watched", True))
        c.request(op.CREATE, create("/watched/other"))
        c.event(children, "/watched")
        c.reply(op.CREATE)
    with recording.talk(server, "watch-deleted", "data, exists and child watches on a znode that goes: one event") as c:
        c.ask(op.GET_DATA, GetDataRequest("/watched/other", True))
        c.ask(op.EXISTS, ExistsRequest("/watched/other", True))
        c.ask(op.GET_CHILDREN2, GetChildren2Request("/watched/other", True))
        c.request(op.DELETE, DeleteRequest("/watched/other", -1))
        c.event(deleted, "/watched/other")
        c.reply(op.DELETE)
    for mode, name in ((AddWatchMode.PERSISTENT, "persistent"), (AddWatchMode.PERSISTENT_RECURSIVE, "recursive")):
        with recording.talk(server, f"addWatch-{name}", f"a {name} watch") as c:
            c.ask(op.ADD_WATCH, AddWatchRequest("/watched/p", mode))
            c.request(op.CREATE, create("/watched/p"))
            c.event(created, "/watched/p")
            c.reply(op.CREATE)
            c.request(op.CREATE, create("/watched/p/child"))
            c.event(*((created, "/watched/p/child") if mode else (children, "/watched/p")))
            c.reply(op.CREATE)
            c.request(op.SET_DATA, SetDataRequest("/watched/p", b"", -1))
            c.event(data, "/watched/p")
            c.reply(op.SET_DATA)
            c.request(op.DELETE, DeleteRequest("/watched/p/child", -1))
            c.event(*((deleted, "/watched/p/child") if mode else (children, "/watched/p")))
            c.reply(op.DELETE)
            c.request(op.DELETE, DeleteRequest("/watched/p", -1))
            c.event(deleted, "/watched/p")
            c.reply(op.DELETE)
    lists = (("/app", "/missing"), ("/watched",), ("/watched",))
    for operation, record in (
        (op.SET_WATCHES, SetWatches(0, *lists)),
        (op.SET_WATCHES2, SetWatches2(0, *lists, ("/persistent",), ("/recursive",))),
    ):
        with recording.talk(server, operation.name, f"{operation.name} finds what changed since relativeZxid") as c:
            c.request(operation, record)
            for kind, path in ((data, "/app"), (deleted, "/missing"), (created, "/watched"), (children, "/watched")):
                c.event(kind, path)
            c.reply(operation)
    with recording.talk(server, "setWatches-MarshallingError", "setWatches with null in place of a list") as c:
        c.ask(op.SET_WATCHES, SetWatches(0, None, (), ()), ErrorCode.MARSHALLING_ERROR)
    with recording.talk(server, "setWatches2-MarshallingError", "setWatches2 with null in place of a list") as c:
        c.ask(op.SET_WATCHES2, SetWatches2(0, (), (), (), None, ()), ErrorCode.MARSHALLING_ERROR)
    with recording.talk(server, "addWatch-MarshallingError", "addWatch with an unknown mode") as c:
        c.ask(op.ADD_WATCH, AddWatchRequest("/app", 7), ErrorCode.MARSHALLING_ERROR)

    with recording.talk(server, "removeWatches", "removeWatches of every type on a path") as c:
        c.ask(op.ADD_WATCH, AddWatchRequest("/app", AddWatchMode.PERSISTENT))
        c.ask(op.REMOVE_WATCHES, RemoveWatchesRequest("/app", WatcherType.ANY))
    # The types of persistent watches are known since 3.9.0.
    err = 0 if recording.distribution.version_tuple >= (3, 9) else ErrorCode.MARSHALLING_ERROR
    with recording.talk(server, "removeWatches-persistent", "removeWatches of the type of persistent watches") as c:
        c.ask(op.ADD_WATCH, AddWatchRequest("/app", AddWatchMode.PERSISTENT))
        c.ask(op.REMOVE_WATCHES, RemoveWatchesRequest("/app", WatcherType.PERSISTENT), err)
    with recording.talk(
        server, "removeWatches-NoWatcher", "removeWatches of a child watch, where a data watch stands; then of that"
    ) as c:
        c.ask(op.GET_DATA, GetDataRequest("/app", True))
        c.ask(op.REMOVE_WATCHES, RemoveWatchesRequest("/app", WatcherType.CHILDREN), no_watcher)
        c.ask(op.REMOVE_WATCHES, RemoveWatchesRequest("/app", WatcherType.DATA))
    with recording.talk(server, "checkWatches", "checkWatches of a data watch that stands") as c:
        c.ask(op.GET_DATA, GetDataRequest("/app", True))
        c.ask(op.CHECK_WATCHES, CheckWatchesRequest("/app", WatcherType.DATA))
    with recording.talk(server, "checkWatches-NoWatcher", "checkWatches where none stands") as c:
        c.ask(op.CHECK_WATCHES, CheckWatchesRequest("/app", WatcherType.ANY), no_watcher)


def record_connection(recording: Recording, server: Server) -> None:
    """The operations on a connection and its identities."""
    with recording.talk(server, "ping", "ping on its own") as c:
        c.ask(op.PING)
    with recording.talk(server, "auth", "auth with digest, and the identities before and after") as c:
        c.ask(op.WHO_AM_I)
        c.ask(op.AUTH, AuthPacket(0, "digest", b"bob:pw"))
        c.ask(op.WHO_AM_I)
    with recording.talk(server, "whoAmI", "whoAmI without an auth packet") as c:
        c.ask(op.WHO_AM_I)
    with recording.talk(server, "auth-AuthFailed", "auth with an unknown scheme; the server closes") as c:
        c.ask(op.AUTH, AuthPacket(0, "nosuch", b"bob:pw"), ErrorCode.AUTH_FAILED)
        c.end()
    with recording.talk(server, "sasl-unconfigured", "sasl without a server side: the answer is a null token") as c:
        if c.ask(op.SASL, GetSASLRequest(b"")).token is not None:
            raise RecordingError("a server without SASL sent a token")
    with recording.talk(server, "unknown-Unimplemented", "opcode 99 of no operation; the server closes") as c:
        unknown = Operation(UNKNOWN_OPCODE, f"opcode {UNKNOWN_OPCODE}", None, None)  # type: ignore[arg-type]
        c.ask(unknown, None, ErrorCode.UNIMPLEMENTED)
        c.end()
    with recording.talk(server, "closeSession", "closeSession removes the ephemeral, then the server closes") as c:
        c.ask(op.CREATE, create("/app/mine", b"", CreateMode.EPHEMERAL))
        c.ask(op.CLOSE_SESSION)
        c.end()


def record_handshakes(recording: Recording, server: Server) -> None:
    """Sessions: new, resumed, refused; and the old form."""
    with recording.talk(server, "connect", "a new session", connect_request()) as c:
        response = c.handshake(keep_open=True)
        c.detach()
    resume = connect_request(session_id=response.session_id, passwd=response.passwd, time_out=30000)
    with recording.talk(server, "connect-resumed", "a session resumed, with another timeout", resume) as c:
        c.handshake()
    with recording.talk(server, "connect-refused", "a session that was closed", resume) as c:
        c.handshake()
        c.end()
    old = connect_request(read_only=None)
    with recording.talk(server, "connect-36", "without readOnly, as before 3.4; nor has the answer", old) as c:
        c.handshake()


# --- other servers


def record_sasl(recording: Recording) -> None:
    """SASL, servers that require it, and reconfig where there is nothing to configure."""
    failed, required = ErrorCode.AUTH_FAILED, ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH
    with sasl_server(recording.distribution, config={"reconfigEnabled": "true"}) as server:
        with recording.talk(server, "sasl", "sasl with DIGEST-MD5") as c:
            mechanism = DigestMD5("bob", "secret", cnonce="OA6MHXh6VqTrRk")
            token: bytes | None = mechanism.start()
            while token is not None:
                token = mechanism.step(c.ask(op.SASL, GetSASLRequest(token)).token)
            c.ask(op.WHO_AM_I)
        with recording.talk(server, "sasl-AuthFailed", "sasl with a wrong password; the server closes") as c:
            mechanism = DigestMD5("bob", "wrong", cnonce="OA6MHXh6VqTrRk")
            challenge = c.ask(op.SASL, GetSASLRequest(mechanism.start())).token
            c.request(op.SASL, GetSASLRequest(mechanism.step(challenge)))
            c.reply(op.SASL, failed, (op.SASL.response,))
            c.end()
        with recording.talk(
            server, "reconfig-Unimplemented", "reconfig on a standalone server; the connection stays"
        ) as c:
            c.ask(op.RECONFIG, ReconfigRequest(None, "2", None, -1), ErrorCode.UNIMPLEMENTED)
            c.ask(op.PING)
    with sasl_server(recording.distribution, config={"sessionRequireClientSASLAuth": "true"}) as server:
        for operation in (op.PING, op.WHO_AM_I, op.CLOSE_SESSION):
            name = f"{operation.name}-SessionClosedRequireSaslAuth"
            with recording.talk(
                server, name, f"{operation.name} before the SASL that the server requires; it closes"
            ) as c:
                c.ask(operation, None, required)
                c.end()


def record_reconfig(recording: Recording) -> None:
    """reconfig and getConfig, on an ensemble of one."""
    with Ensemble(
        recording.distribution, 1, config={"reconfigEnabled": "true", "skipACL": "yes"}, jvm=["-Dzookeeper.skipACL=yes"]
    ) as ensemble:
        (server,) = ensemble.servers
        member = f"server.1={server.config['server.1']}"
        observer = f"server.1={server.config['server.1'].replace(';', ':observer;')}"
        with recording.talk(server, "getConfig-ensemble", "the members and their version") as c:
            c.ask(op.GET_DATA, GetDataRequest("/zookeeper/config", False))
        recording.ask(
            server,
            [
                (
                    "reconfig",
                    "of a member that is there already",
                    op.RECONFIG,
                    ReconfigRequest(member, None, None, -1),
                ),
                (
                    "reconfig-BadVersion",
                    "with another configuration's id",
                    op.RECONFIG,
                    ReconfigRequest(member, None, None, 7),
                    ErrorCode.BAD_VERSION,
                ),
                (
                    "reconfig-BadArguments",
                    "that leaves nobody to vote",
                    op.RECONFIG,
                    ReconfigRequest(observer, None, None, -1),
                    ErrorCode.BAD_ARGUMENTS,
                ),
                (
                    "reconfig-NewConfigNoQuorum",
                    "with a second member, which is not there",
                    op.RECONFIG,
                    ReconfigRequest(
                        f"server.2={HOST}:{free_port()}:{free_port()};{HOST}:{free_port()}", None, None, -1
                    ),
                    ErrorCode.NEW_CONFIG_NO_QUORUM,
                ),
            ],
        )
        with recording.talk(server, "reconfig-ReconfigInProgress", "reconfig while another is under way") as c:
            again = ReconfigRequest(member, None, None, -1)
            c.ask_in_a_crowd((op.RECONFIG, again), op.RECONFIG, again, ErrorCode.RECONFIG_IN_PROGRESS)


def record_limits(recording: Recording) -> None:
    """What a server refuses that has local sessions and enforces quotas."""
    config = {"localSessionsEnabled": "true", "enforceQuota": "true"}
    with Ensemble(recording.distribution, 1, config=config) as ensemble:
        (server,) = ensemble.servers
        mine = create("/mine", b"", CreateMode.EPHEMERAL)
        with recording.preparing(server) as admin:
            admin.ask(op.CREATE, create("/limited"))
            for path, data in (("", b""), ("/zookeeper_limits", NO_MORE), ("/zookeeper_stats", b"count=0,bytes=0")):
                admin.ask(op.CREATE, create(f"/zookeeper/quota/limited{path}", data))
        recording.ask(
            server,
            [
                (
                    "create-EphemeralOnLocalSession",
                    "of an ephemeral znode in a local session",
                    op.CREATE,
                    mine,
                    ErrorCode.EPHEMERAL_ON_LOCAL_SESSION,
                ),
                (
                    "create-QuotaExceeded",
                    "below a znode whose quota is used up",
                    op.CREATE,
                    create("/limited/new"),
                    ErrorCode.QUOTA_EXCEEDED,
                ),
            ],
        )


def record_shedding(recording: Recording) -> None:
    """What a server refuses that handles one request at a time, and sheds those that have waited more than 1 ms. On a
    busy machine any request may wait that long, so no others are sent to it."""
    jvm = ["-Dzookeeper.request_throttle_max_requests=1", "-Dzookeeper.throttled_op_wait_time=1"]
    with Ensemble(recording.distribution, 1, jvm=jvm) as ensemble:
        (server,) = ensemble.servers
        with recording.talk(server, "getData-ThrottledOp", "getData by a server that sheds load") as c:
            c.ask_in_a_crowd(
                (op.SET_DATA, SetDataRequest("/zookeeper", b"", -1)),
                op.GET_DATA,
                GetDataRequest("/zookeeper", False),
                ErrorCode.THROTTLED_OP,
            )


def record_read_only(recording: Recording) -> None:
    """A member of an ensemble whose other members do not run: read-only, with and without local sessions."""
    with alone(recording.distribution, {"localSessionsEnabled": "true"}) as server:
        read_only = connect_request(read_only=True)
        with recording.talk(server, "connect-read-only", "a read-only server", read_only) as c:
            c.handshake()
            c.ask(op.GET_CHILDREN, GetChildrenRequest("/", False))
            c.ask(op.CREATE, create("/app"), ErrorCode.NOT_READ_ONLY)
            c.ask(op.SYNC, SyncRequest("/"), ErrorCode.NOT_READ_ONLY)
        unknown = read_only.replace(session_id=0x1234, passwd=b"sixteen letters!")
        with recording.talk(
            server, "connect-read-only-refused", "a read-only server and a session it does not know", unknown
        ) as c:
            c.handshake()
            c.end()
    with alone(recording.distribution, {}) as server:
        name, title = "connect-NotReadOnly", "a read-only server without local sessions"
        with recording.talk(server, name, title, connect_request(read_only=True)) as c:
            c.bare_header()


@contextlib.contextmanager
def alone(distribution: Distribution, config: Mapping[str, str]) -> Iterator[Server]:
    ensemble = Ensemble(distribution, config=config, jvm=["-Dreadonlymode.enabled=true"])
    try:
        ensemble.servers[0].start()
        yield ensemble.servers[0]
    finally:
        ensemble.close()


# --- files


def save(frames: Sequence[Golden]) -> int:
    """Replace the frames of one version. Returns how many frames are in conversations that changed."""
    (version,) = {golden.version for golden in frames}
    before = _units(golden for golden in load() if golden.version == version)
    written = 0
    for unit, goldens in _units(frames).items():
        kept = before.pop(unit, [])
        if [golden.lasting for golden in kept] != [golden.lasting for golden in goldens]:
            written += len(goldens)
            for golden in kept:
                golden.path.unlink()
            for golden in goldens:
                write(golden)
    for goldens in before.values():
        for golden in goldens:
            golden.path.unlink()
    return written


def _units(frames: Iterable[Golden]) -> dict[str, list[Golden]]:
    """What is kept or replaced together: a conversation; all handshakes are one, since one of them resumes another."""
    units: dict[str, list[Golden]] = {}
    for (_, conversation), goldens in conversations(frames).items():
        units.setdefault("connect" if conversation.startswith("connect") else conversation, []).extend(goldens)
    return units


def write(golden: Golden) -> None:
    golden.path.parent.mkdir(parents=True, exist_ok=True)
    golden.path.write_text(golden.text, encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    if arguments == ["--reformat"]:
        for golden in load():
            write(golden)
        return
    if arguments:
        sys.exit(__doc__)
    for distribution in find_distributions():
        if distribution.version_tuple < OLDEST:
            print(f"ZooKeeper {distribution.version}: lacks operations, not recorded")
            continue
        frames = Recording(distribution).run()
        written = save(frames)
        print(f"ZooKeeper {distribution.version}: {len(frames)} frames, {written} written")
    print(f"in {FRAMES}")


if __name__ == "__main__":
    main(sys.argv[1:])
