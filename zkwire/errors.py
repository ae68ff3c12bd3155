"""What can go wrong, by whose doing.

ZkwireError
  ProtocolError           a rule of the protocol was broken
    LocalProtocolError      by us or our caller; nothing was sent
    RemoteProtocolError     by the server; the connection is replaced
  ClosedError             the client was closed
  NoServerError           no server gave a session in time
  ReplyTooLongError       the reply has more bytes than the client takes
  ZooKeeperError          a code of KeeperException: one class per code, below
    ConnectionLossError     says whether the request may have been applied
    SessionExpiredError, AuthFailedError, NoNodeError, NodeExistsError, BadVersionError, ...

The meaning of each code is what its class assigns to `__doc__`, since `zkwire explain` and `zkwire describe` show it:
`python -OO` would strip a bare docstring.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from .codes import ErrorCode
from .text import counted, printable


class ZkwireError(Exception):
    """Base of all errors of zkwire."""


class ProtocolError(ZkwireError):
    """The protocol does not allow this. Raised only as one of its two subclasses."""


class LocalProtocolError(ProtocolError):
    """The caller asked for what cannot or must not be sent. Not a byte was."""


class RemoteProtocolError(ProtocolError):
    """The server sent what the protocol does not allow. The message has field path and offset, or expected and seen."""


class ClosedError(ZkwireError):
    """The client was closed before the request was answered, or before it was made."""


class NoServerError(ZkwireError):
    """No server gave a session within `connect_timeout`. The message has each server tried and what it did."""


class ReplyTooLongError(ZkwireError):
    """The reply has more bytes than `max_reply` of connect(). The server has carried out the request; only its reply
    was dropped. The connection and all other requests go on.

    Attributes:
        path, operation: of the request, as in ZooKeeperError.
        length: bytes of the reply.
        limit: bytes that are taken.
    """

    def __init__(self, path: str | None, operation: str, length: int, limit: int) -> None:
        super().__init__(path, operation, length, limit)
        self.path = path
        self.operation = operation
        self.length = length
        self.limit = limit

    def __str__(self) -> str:
        target = " ".join(part for part in (self.operation, printable(self.path or "")) if part)
        return (
            f"{target}: expected a reply of at most {counted(self.limit, 'byte')}, got one of {self.length}, "
            "which was dropped; connect(max_reply=...) says how long a reply may be"
        )


class ZooKeeperError(ZkwireError):
    """An error code of the server, or one of the codes that its clients use for themselves.

    Attributes:
        code: the number, as on the wire; an `ErrorCode` where it is a known one.
        path: the path of the request, as the caller gave it, where it had one.
        operation: the request's name in ZooKeeper ("getData"), where there was one.
        reason: what is wrong, in words, where more than the code is known: for BadArgumentsError, AuthFailedError, and
            NoNodeError of a client with a chroot.
        index, results: of a failed multi: which operation failed, and what became of each.
    """

    CODE: ClassVar[ErrorCode | None] = None
    #: The first release that has the code; "" where all known ones have. Source: KeeperException.java of each release.
    SINCE: ClassVar[str] = ""
    index: int | None = None
    results: list[ZooKeeperError | None] | None = None

    def __init__(
        self, path: str | None = None, operation: str | None = None, code: int | None = None, *, reason: str = ""
    ) -> None:
        self.path = path
        self.operation = operation
        self.reason = reason
        self.code: int = self.CODE if code is None and self.CODE is not None else code or 0
        super().__init__(path, operation, self.code)

    def __str__(self) -> str:
        name = self.code.name if isinstance(self.code, ErrorCode) else "unknown error code"
        target = " ".join(part for part in (self.operation, printable(self.path or "")) if part)
        return ": ".join(part for part in (f"{name} ({self.code:d})", target, self.reason) if part)


class SystemErrorError(ZooKeeperError):
    __doc__ = "Marks the range of errors of the system. No server sends it."

    CODE = ErrorCode.SYSTEM_ERROR


class RuntimeInconsistencyError(ZooKeeperError):
    __doc__ = "An operation of a multi that was not tried, since one before it failed."

    CODE = ErrorCode.RUNTIME_INCONSISTENCY


class DataInconsistencyError(ZooKeeperError):
    __doc__ = "No server is known to send it."

    CODE = ErrorCode.DATA_INCONSISTENCY


class ConnectionLossError(ZooKeeperError):
    __doc__ = """The connection was lost before the reply came.

    Attributes:
        written: how much of the request went to the server: "in full", "partly", or "not sent".
        maybe_applied: whether the server can have executed it. Only a request written in full can have been.
        cause: what ended the connection.
    """

    CODE = ErrorCode.CONNECTION_LOSS

    def __init__(
        self,
        path: str | None = None,
        operation: str | None = None,
        written: Literal["in full", "partly", "not sent"] = "in full",
        cause: str = "",
    ) -> None:
        super().__init__(path, operation)
        self.written = written
        self.cause = cause

    @property
    def maybe_applied(self) -> bool:
        return self.written == "in full"

    def __str__(self) -> str:
        outcomes = {"in full": "written in full, maybe applied", "partly": "written partly, not applied"}
        sent = outcomes.get(self.written, self.written)
        return f"{super().__str__()} ({sent}{'; ' + self.cause if self.cause else ''})"


class MarshallingError(ZooKeeperError):
    __doc__ = "The server could not parse the request's body, or an enumeration in it."

    CODE = ErrorCode.MARSHALLING_ERROR


class UnimplementedError(ZooKeeperError):
    __doc__ = """The server does not know the operation (and closes the connection), or has it switched off (and does
    not)."""

    CODE = ErrorCode.UNIMPLEMENTED


class OperationTimeoutError(ZooKeeperError):
    __doc__ = "A client's own code: no server sends it."

    CODE = ErrorCode.OPERATION_TIMEOUT


class BadArgumentsError(ZooKeeperError):
    __doc__ = """An illegal path, mode or time to live: found here before anything was sent (then `reason` says what is
    wrong with it), or by the server."""

    CODE = ErrorCode.BAD_ARGUMENTS


class InvalidStateError(ZooKeeperError):
    __doc__ = "The C client's own code."

    CODE = ErrorCode.INVALID_STATE


class UnknownSessionError(ZooKeeperError):
    __doc__ = "Servers use it among themselves."

    CODE = ErrorCode.UNKNOWN_SESSION
    SINCE = "3.5.0"


class NewConfigNoQuorumError(ZooKeeperError):
    __doc__ = "reconfig: no quorum of the new configuration is connected."

    CODE = ErrorCode.NEW_CONFIG_NO_QUORUM
    SINCE = "3.5.0"


class ReconfigInProgressError(ZooKeeperError):
    __doc__ = "Another reconfiguration is under way."

    CODE = ErrorCode.RECONFIG_IN_PROGRESS
    SINCE = "3.5.0"


class SSLConnectionError(ZooKeeperError):
    __doc__ = "The C client's own code."

    CODE = ErrorCode.SSL_CONNECTION_ERROR
    SINCE = "3.6.0"


class APIError(ZooKeeperError):
    __doc__ = "Marks the range of errors of single operations. No server sends it."

    CODE = ErrorCode.API_ERROR


class NoNodeError(ZooKeeperError):
    __doc__ = "The znode does not exist; for create, its parent."

    CODE = ErrorCode.NO_NODE


class NoAuthError(ZooKeeperError):
    __doc__ = "No identity of this connection has the permission."

    CODE = ErrorCode.NO_AUTH


class BadVersionError(ZooKeeperError):
    __doc__ = "The znode, its ACL or the ensemble's configuration has another version than the one asked for."

    CODE = ErrorCode.BAD_VERSION


class NoChildrenForEphemeralsError(ZooKeeperError):
    __doc__ = "The parent is ephemeral."

    CODE = ErrorCode.NO_CHILDREN_FOR_EPHEMERALS


class NodeExistsError(ZooKeeperError):
    __doc__ = "There is such a znode already."

    CODE = ErrorCode.NODE_EXISTS


class NotEmptyError(ZooKeeperError):
    __doc__ = "The znode has children, and only one without can be deleted."

    CODE = ErrorCode.NOT_EMPTY


class SessionExpiredError(ZooKeeperError):
    __doc__ = "The session the request belonged to is over, and its ephemerals are gone or about to go."

    CODE = ErrorCode.SESSION_EXPIRED


class InvalidCallbackError(ZooKeeperError):
    __doc__ = "A client's own code: no server sends it."

    CODE = ErrorCode.INVALID_CALLBACK


class InvalidACLError(ZooKeeperError):
    __doc__ = "The ACL is empty, names an unknown scheme, or an id that the scheme does not take."

    CODE = ErrorCode.INVALID_ACL


class AuthFailedError(ZooKeeperError):
    __doc__ = "The server refused an auth packet or the SASL exchange; `reason` says which. Terminal for the client."

    CODE = ErrorCode.AUTH_FAILED


class ClosingError(ZooKeeperError):
    __doc__ = "The C client's own code."

    CODE = ErrorCode.CLOSING


class NothingError(ZooKeeperError):
    __doc__ = "The C client's own code."

    CODE = ErrorCode.NOTHING


class SessionMovedError(ZooKeeperError):
    __doc__ = "The session goes on at another server. Servers close the connection instead of sending it."

    CODE = ErrorCode.SESSION_MOVED


class NotReadOnlyError(ZooKeeperError):
    __doc__ = "A write, sync or multi on a server in read-only mode."

    CODE = ErrorCode.NOT_READ_ONLY
    SINCE = "3.4.0"


class EphemeralOnLocalSessionError(ZooKeeperError):
    __doc__ = "The session is a local one, of one server only, and may not become a global one."

    CODE = ErrorCode.EPHEMERAL_ON_LOCAL_SESSION
    SINCE = "3.5.0"


class NoWatcherError(ZooKeeperError):
    __doc__ = "This connection has no such watch, so none was found or removed."

    CODE = ErrorCode.NO_WATCHER
    SINCE = "3.5.0"


class RequestTimeoutError(ZooKeeperError):
    __doc__ = "The Java client's own code."

    CODE = ErrorCode.REQUEST_TIMEOUT
    SINCE = "3.5.5"


class ReconfigDisabledError(ZooKeeperError):
    __doc__ = "The server has no reconfigEnabled."

    CODE = ErrorCode.RECONFIG_DISABLED
    SINCE = "3.5.3"


class SessionClosedRequireSaslAuthError(ZooKeeperError):
    __doc__ = "The server demands an authentication scheme that this connection did not use first."

    CODE = ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH
    SINCE = "3.5.9"


class QuotaExceededError(ZooKeeperError):
    __doc__ = "A quota of the znode or of one above it is used up, and the server has enforceQuota."

    CODE = ErrorCode.QUOTA_EXCEEDED
    SINCE = "3.7.0"


class ThrottledOpError(ZooKeeperError):
    __doc__ = "The server shed load: the operation was not executed, and may be tried again."

    CODE = ErrorCode.THROTTLED_OP
    SINCE = "3.7.0"


BY_CODE: dict[int, type[ZooKeeperError]] = {
    cls.CODE: cls for cls in ZooKeeperError.__subclasses__() if cls.CODE is not None
}


def error_from_code(code: int, path: str | None = None, operation: str | None = None) -> ZooKeeperError:
    """The exception for a code; one this client does not know is a plain ZooKeeperError that carries the number."""
    cls = BY_CODE.get(code)
    return ZooKeeperError(path, operation, code) if cls is None else cls(path, operation)
