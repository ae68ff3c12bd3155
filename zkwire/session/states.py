"""The two state machines of the client's side: one of a connection, one of a session. Each is one table.

A row has a state, what happens in it, and the next state. A step that is not in a table cannot happen.
"Rule N": docs/client-rules.md.
"""

from __future__ import annotations

from enum import Enum

from ..codes import KeeperState


class ConnectionState(Enum):
    """Where a stream is in its life. The last two are terminal."""

    HANDSHAKING = "handshaking"  # ConnectRequest sent, ConnectResponse awaited
    ESTABLISHED = "established"
    CLOSING = "closing"  # closeSession is the last frame sent; replies still come
    CLOSED = "closed"
    FAILED = "failed"  # the server broke the protocol; never used again


#: The whole life of a connection. CLOSED and FAILED are terminal.
CONNECTION_TRANSITIONS: dict[tuple[ConnectionState, str], ConnectionState] = {
    (ConnectionState.HANDSHAKING, "ConnectResponse"): ConnectionState.ESTABLISHED,
    (ConnectionState.HANDSHAKING, "SessionRefused"): ConnectionState.CLOSED,
    (ConnectionState.HANDSHAKING, "lost"): ConnectionState.CLOSED,
    (ConnectionState.HANDSHAKING, "RemoteProtocolError"): ConnectionState.FAILED,
    (ConnectionState.ESTABLISHED, "closeSession"): ConnectionState.CLOSING,
    (ConnectionState.ESTABLISHED, "lost"): ConnectionState.CLOSED,
    (ConnectionState.ESTABLISHED, "RemoteProtocolError"): ConnectionState.FAILED,
    (ConnectionState.CLOSING, "lost"): ConnectionState.CLOSED,
    (ConnectionState.CLOSING, "RemoteProtocolError"): ConnectionState.FAILED,
}


_DISCONNECTED, _CONNECTED = KeeperState.DISCONNECTED, KeeperState.SYNC_CONNECTED
_READ_ONLY, _EXPIRED = KeeperState.CONNECTED_READ_ONLY, KeeperState.EXPIRED
_AUTH_FAILED, _CLOSED = KeeperState.AUTH_FAILED, KeeperState.CLOSED

#: The whole life of a session. EXPIRED, AUTH_FAILED and CLOSED are terminal.
SESSION_TRANSITIONS: dict[tuple[KeeperState, str], KeeperState] = {
    (_DISCONNECTED, "logged in"): _CONNECTED,
    (_DISCONNECTED, "logged in read-only"): _READ_ONLY,  # the server is in read-only mode
    (_DISCONNECTED, "refused"): _EXPIRED,  # the server has answered with time_out 0, or with another session's id
    (_DISCONNECTED, "silence"): _EXPIRED,  # no valid frame for 4/3 of the session timeout (rule 40)
    (_DISCONNECTED, "authentication failed"): _AUTH_FAILED,
    (_DISCONNECTED, "closed"): _CLOSED,  # close() without a connection, or closeSession answered or never answered
    (_DISCONNECTED, "detached"): _CLOSED,
    (_CONNECTED, "lost"): _DISCONNECTED,
    (_CONNECTED, "authentication failed"): _AUTH_FAILED,
    (_CONNECTED, "closed"): _CLOSED,
    (_CONNECTED, "detached"): _CLOSED,
    (_READ_ONLY, "lost"): _DISCONNECTED,
    (_READ_ONLY, "authentication failed"): _AUTH_FAILED,
    (_READ_ONLY, "closed"): _CLOSED,
    (_READ_ONLY, "detached"): _CLOSED,
}
