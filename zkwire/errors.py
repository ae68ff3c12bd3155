"""Every error that zkwire raises.

ZkwireError
  ProtocolError           a rule of the protocol was broken
    LocalProtocolError      by the caller; nothing was sent
    RemoteProtocolError     by the server; the connection is replaced
  ClosedError             the client was closed
  NoServerError           no server gave a session in time
  ReplyTooLongError       the reply has more bytes than the client takes
  ZooKeeperError          a code of KeeperException; one class for each code
    ConnectionLossError     says whether the request may have been applied
    SessionExpiredError, AuthFailedError, NoNodeError, NodeExistsError, BadVersionError, ...

The classes of codes assign their docstrings to `__doc__`: `zkwire explain` and `zkwire describe` show them, and
`python -OO` would strip them otherwise.
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
    """The caller's request cannot or must not be sent. Nothing was sent, and nothing has changed."""


class RemoteProtocolError(ProtocolError):
    """The server sent something that the protocol does not allow. The message says what was expected and seen, and, if
    it is in a field, in which one at which offset."""


class ClosedError(ZkwireError):
    """The client was closed, before the request was made or before it was answered."""


class NoServerError(ZkwireError):
    """No server gave a session within `connect_timeout`. The message lists each server that was tried, and what it
    did."""


class ReplyTooLongError(ZkwireError):
    """The reply has more bytes than `max_reply` of connect(). The server has carried out the request; only its reply
    was dropped. The connection stays open, and no other request is affected.

    Attributes:
        path, operation: of the request, as in ZooKeeperError.
        length: of the reply, in bytes.
        limit: the longest reply that the client takes (`max_reply`), in bytes.
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
        code: the number, as on the wire; an `ErrorCode` if it is a known one.
        path: of the request, as the caller gave it; None: it has none.
        operation: ZooKeeper's name of the request, "getData"; None: there was no request.
        reason: what is wrong, in words, where zkwire knows more than the code; else "". BadArgumentsError and
            AuthFailedError can have one, and NoNodeError if the client has a chroot.
        index: of a failed multi: the place of the operation that failed, from 0; else None.
        results: of a failed multi: for each operation its error, or None for those before the one that failed; else
            None.
    """

    CODE: ClassVar[ErrorCode | None] = None
    #: The first release that has the code; "": every release has it. Source: KeeperException.java of each release.
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
    __doc__ = "Marks where the codes of system errors begin. No server sends it, and zkwire never raises it."

    CODE = ErrorCode.SYSTEM_ERROR


class RuntimeInconsistencyError(ZooKeeperError):
    __doc__ = "The operation was not tried, because one before it in the same multi failed."

    CODE = ErrorCode.RUNTIME_INCONSISTENCY


class DataInconsistencyError(ZooKeeperError):
    __doc__ = "No server is known to send it."

    CODE = ErrorCode.DATA_INCONSISTENCY


class ConnectionLossError(ZooKeeperError):
    __doc__ = """The connection was lost before the reply came.

    Attributes:
        written: how much of the request was written to the connection: "in full", "partly", or "not sent".
        maybe_applied: whether the server may have executed it. True only for a request that was written in full.
        cause: what ended the connection, in words; or "".
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
    __doc__ = "The server could not parse the request's body, or does not know the value of an enum field in it."

    CODE = ErrorCode.MARSHALLING_ERROR


class UnimplementedError(ZooKeeperError):
    __doc__ = """The server does not know the operation and closes the connection; or the operation is switched off
    there, and the connection stays open."""

    CODE = ErrorCode.UNIMPLEMENTED


class OperationTimeoutError(ZooKeeperError):
    __doc__ = "A code for a client's own use: no server sends it, and zkwire never raises it."

    CODE = ErrorCode.OPERATION_TIMEOUT


class BadArgumentsError(ZooKeeperError):
    __doc__ = """A path, mode or time to live is not allowed. If zkwire found this before it sent anything, `reason`
    says what is wrong."""

    CODE = ErrorCode.BAD_ARGUMENTS


class InvalidStateError(ZooKeeperError):
    __doc__ = "A code for the C client's own use: no server sends it, and zkwire never raises it."

    CODE = ErrorCode.INVALID_STATE


class UnknownSessionError(ZooKeeperError):
    __doc__ = "A code that servers use among themselves: no client receives it."

    CODE = ErrorCode.UNKNOWN_SESSION
    SINCE = "3.5.0"


class NewConfigNoQuorumError(ZooKeeperError):
    __doc__ = "reconfig: no quorum of the new configuration is connected."

    CODE = ErrorCode.NEW_CONFIG_NO_QUORUM
    SINCE = "3.5.0"


class ReconfigInProgressError(ZooKeeperError):
    __doc__ = "reconfig: another reconfiguration has not ended yet."

    CODE = ErrorCode.RECONFIG_IN_PROGRESS
    SINCE = "3.5.0"


class SSLConnectionError(ZooKeeperError):
    __doc__ = "A code for the C client's own use: no server sends it, and zkwire never raises it."

    CODE = ErrorCode.SSL_CONNECTION_ERROR
    SINCE = "3.6.0"


class APIError(ZooKeeperError):
    __doc__ = "Marks where the codes of refused operations begin. No server sends it, and zkwire never raises it."

    CODE = ErrorCode.API_ERROR


class NoNodeError(ZooKeeperError):
    __doc__ = "The znode does not exist; in a create, its parent does not."

    CODE = ErrorCode.NO_NODE


class NoAuthError(ZooKeeperError):
    __doc__ = "No identity of this connection has the permission."

    CODE = ErrorCode.NO_AUTH


class BadVersionError(ZooKeeperError):
    __doc__ = "The version in the request is not that of the znode, of its ACL, or of the ensemble's configuration."

    CODE = ErrorCode.BAD_VERSION


class NoChildrenForEphemeralsError(ZooKeeperError):
    __doc__ = "The parent is ephemeral, and ephemeral znodes have no children."

    CODE = ErrorCode.NO_CHILDREN_FOR_EPHEMERALS


class NodeExistsError(ZooKeeperError):
    __doc__ = "A znode with this path exists already."

    CODE = ErrorCode.NODE_EXISTS


class NotEmptyError(ZooKeeperError):
    __doc__ = "The znode has children, so it cannot be deleted."

    CODE = ErrorCode.NOT_EMPTY


class SessionExpiredError(ZooKeeperError):
    __doc__ = "The session of the request has ended, and the server has deleted its ephemeral znodes or soon will."

    CODE = ErrorCode.SESSION_EXPIRED


class InvalidCallbackError(ZooKeeperError):
    __doc__ = "A code for a client's own use: no server sends it, and zkwire never raises it."

    CODE = ErrorCode.INVALID_CALLBACK


class InvalidACLError(ZooKeeperError):
    __doc__ = "The ACL is empty, names an unknown scheme, or an id that the scheme does not take."

    CODE = ErrorCode.INVALID_ACL


class AuthFailedError(ZooKeeperError):
    __doc__ = "The server refused an auth packet or the SASL exchange; `reason` says which. The session ends with it."

    CODE = ErrorCode.AUTH_FAILED


class ClosingError(ZooKeeperError):
    __doc__ = "A code for the C client's own use: no server sends it, and zkwire never raises it."

    CODE = ErrorCode.CLOSING


class NothingError(ZooKeeperError):
    __doc__ = "A code for the C client's own use: no server sends it, and zkwire never raises it."

    CODE = ErrorCode.NOTHING


class SessionMovedError(ZooKeeperError):
    __doc__ = "The session has moved to another server. Servers close the connection instead of sending this code."

    CODE = ErrorCode.SESSION_MOVED


class NotReadOnlyError(ZooKeeperError):
    __doc__ = "The server is in read-only mode, and the request is a write, a sync or a multi."

    CODE = ErrorCode.NOT_READ_ONLY
    SINCE = "3.4.0"


class EphemeralOnLocalSessionError(ZooKeeperError):
    __doc__ = "An ephemeral znode needs a global session, but this one is local to a server and may not become global."

    CODE = ErrorCode.EPHEMERAL_ON_LOCAL_SESSION
    SINCE = "3.5.0"


class NoWatcherError(ZooKeeperError):
    __doc__ = "This connection has no such watch."

    CODE = ErrorCode.NO_WATCHER
    SINCE = "3.5.0"


class RequestTimeoutError(ZooKeeperError):
    __doc__ = "A code for the Java client's own use: no server sends it, and zkwire never raises it."

    CODE = ErrorCode.REQUEST_TIMEOUT
    SINCE = "3.5.5"


class ReconfigDisabledError(ZooKeeperError):
    __doc__ = "The server does not allow reconfig: its configuration has no reconfigEnabled=true."

    CODE = ErrorCode.RECONFIG_DISABLED
    SINCE = "3.5.3"


class SessionClosedRequireSaslAuthError(ZooKeeperError):
    __doc__ = "The server requires an authentication scheme with which this connection has not authenticated."

    CODE = ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH
    SINCE = "3.5.9"


class QuotaExceededError(ZooKeeperError):
    __doc__ = (
        "A quota of the znode or of one above it is used up, and the server's configuration has enforceQuota=true."
    )

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
    """The exception for a code. A code that zkwire does not know becomes a plain ZooKeeperError with that number."""
    cls = BY_CODE.get(code)
    return ZooKeeperError(path, operation, code) if cls is None else cls(path, operation)
