"""Every number that has a meaning in the protocol, under ZooKeeper's own names.

Each name is the Java one (ZooDefs.OpCode, KeeperException.Code and others) in UPPER_SNAKE_CASE.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TypeVar

E = TypeVar("E", bound=IntEnum)


class OpCode(IntEnum):
    """RequestHeader.type. Source: ZooDefs.OpCode."""

    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13  # only inside MULTI: 3.8.0 never answers it alone
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    DELETE_CONTAINER = 20  # servers use it among themselves; clients never send it
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107
    CREATE_SESSION = -10  # servers use it among themselves; clients never send it
    CLOSE_SESSION = -11
    ERROR = -1  # not a request: the type of every result of a multi that failed


class Xid(IntEnum):
    """Reserved values of RequestHeader.xid and ReplyHeader.xid. Source: ClientCnxn.java, NOTIFICATION_XID and below."""

    NOTIFICATION = -1  # only servers send it
    PING = -2  # every ping is answered with -2, whatever xid it was sent with
    AUTH = -4
    SET_WATCHES = -8  # from the C client only; zkwire and the Java client give each setWatches an ordinary xid


#: Ordinary xids count from 1 to this, and then from 1 again.
MAX_XID = 2**31 - 1


class ErrorCode(IntEnum):
    """ReplyHeader.err. Source: KeeperException.Code; codes that only the C client uses, for itself, are marked."""

    OK = 0
    SYSTEM_ERROR = -1
    RUNTIME_INCONSISTENCY = -2
    DATA_INCONSISTENCY = -3
    CONNECTION_LOSS = -4
    MARSHALLING_ERROR = -5
    UNIMPLEMENTED = -6
    OPERATION_TIMEOUT = -7
    BAD_ARGUMENTS = -8
    INVALID_STATE = -9  # C client
    UNKNOWN_SESSION = -12
    NEW_CONFIG_NO_QUORUM = -13
    RECONFIG_IN_PROGRESS = -14
    SSL_CONNECTION_ERROR = -15  # C client
    API_ERROR = -100
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_CALLBACK = -113
    INVALID_ACL = -114
    AUTH_FAILED = -115
    CLOSING = -116  # C client
    NOTHING = -117  # C client
    SESSION_MOVED = -118
    NOT_READ_ONLY = -119
    EPHEMERAL_ON_LOCAL_SESSION = -120
    NO_WATCHER = -121
    REQUEST_TIMEOUT = -122
    RECONFIG_DISABLED = -123
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124
    QUOTA_EXCEEDED = -125
    THROTTLED_OP = -127


class EventType(IntEnum):
    """WatcherEvent.type. The server sends 1 to 4; the others are made by clients. Source: Watcher.Event.EventType."""

    NONE = -1  # nothing happened to the znode: the session's state changed, see WatchedEvent.state
    NODE_CREATED = 1
    NODE_DELETED = 2
    NODE_DATA_CHANGED = 3
    NODE_CHILDREN_CHANGED = 4
    DATA_WATCH_REMOVED = 5
    CHILD_WATCH_REMOVED = 6
    PERSISTENT_WATCH_REMOVED = 7
    RESYNC = -3  # zkwire's own: a persistent watch was armed again after a gap, and events may be missing


class KeeperState(IntEnum):
    """WatcherEvent.state and `Client.state`. Servers always send SYNC_CONNECTED. `Client.state` is never
    SASL_AUTHENTICATED. Source: Watcher.Event.KeeperState."""

    DISCONNECTED = 0
    SYNC_CONNECTED = 3
    AUTH_FAILED = 4
    CONNECTED_READ_ONLY = 5
    SASL_AUTHENTICATED = 6
    CLOSED = 7
    EXPIRED = -112


#: A session never leaves these states.
TERMINAL_STATES = (KeeperState.EXPIRED, KeeperState.AUTH_FAILED, KeeperState.CLOSED)


class CreateMode(IntEnum):
    """CreateRequest.flags. The opcode depends on it too (`zkwire.operations.create_operation`)."""

    PERSISTENT = 0
    EPHEMERAL = 1
    PERSISTENT_SEQUENTIAL = 2
    EPHEMERAL_SEQUENTIAL = 3
    CONTAINER = 4
    PERSISTENT_WITH_TTL = 5
    PERSISTENT_SEQUENTIAL_WITH_TTL = 6

    @property
    def is_sequential(self) -> bool:
        """Whether the server appends ten digits to the path."""
        return self in (2, 3, 6)

    @property
    def has_ttl(self) -> bool:
        """Whether the znode has a time to live: the server deletes it after so long without a child or a change."""
        return self in (5, 6)


#: The longest time to live, in milliseconds: ephemeralOwner has 40 bits for it. Source: EphemeralType.TTL.
MAX_TTL_MS = 2**40 - 1


class Perms(IntFlag):
    """ACL.perms. Source: ZooDefs.Perms."""

    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


class WatcherType(IntEnum):
    """CheckWatchesRequest.type and RemoveWatchesRequest.type. Source: Watcher.WatcherType."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4  # since 3.9.0; older servers answer MARSHALLING_ERROR
    PERSISTENT_RECURSIVE = 5  # since 3.9.0


class AddWatchMode(IntEnum):
    """AddWatchRequest.mode. Source: AddWatchMode.java."""

    PERSISTENT = 0
    PERSISTENT_RECURSIVE = 1


# --- numbers as people read them


def member_or_int(codes: type[E], number: int) -> E | int:
    """The member of `codes` with this number; the number itself if there is none: newer servers may send others."""
    try:
        return codes(number)
    except ValueError:
        return number
