"""The ZooKeeper wire protocol, fully visible. Bottom layer first:

    jute/         Jute: types, records, and the two codecs made from one declaration
    codes         every number the protocol assigns a meaning to
    paths, hosts  which paths name a znode; connect strings
    search        which server to try next, and what each did last
    records       every record on the wire
    framing       4-byte lengths
    errors        what can go wrong, by whose doing
    multi         the bodies of multi and multiRead
    operations    the table of operations
    events        what the core gives its caller
    connection    one TCP stream: handshake, requests and replies, pings
    watches       which watches stand, and how they come back
    plain         values as JSON has them
    trace         a frame as annotated text
    english       a frame as a sentence
    explain       what a frame is, told from its bytes alone
    examples      frames of a real server, for describe
    describe      what the declarations say of a record, operation, error or event
    conversation  one connection as an onlooker sees it
    selection     operations and paths, named in words
    faults        what may happen to a frame, to which, how often
    recording     traffic in a file
    causes        which write caused an event
    ledger        what happens on a tap's connections, entry by entry
    report        these entries as text and as JSON
    replay        recorded traffic, played again to a client
    rerun         recorded traffic, sent again to a server
    capture/      packets that were captured, as frames
    sasl          DIGEST-MD5
    session       one session, over all its connections
    ------------- no I/O, no clock, no trio above this line; below it is the trio shell
    nursery       tasks of ours that do not show in our callers' exceptions
    transport     TCP and TLS streams
    call          a request on its way
    watching      handles on watches
    verbs         one method per operation
    bound         the same, bound to one session
    client        connect() and Client
    program       run(): a program that signals stop, and whose errors are one line
    tap           a frame-aware proxy
    cli/          the command line: a module for each group of verbs

Names are loaded when they are first used, so that the core can be imported without trio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bound import BoundClient as BoundClient
    from .cli.program import CommandParser as CommandParser
    from .cli.program import EndedBySignal as EndedBySignal
    from .cli.program import add_connection_options as add_connection_options
    from .cli.program import check_path as check_path
    from .cli.program import connect_arguments as connect_arguments
    from .cli.program import run_until_signal as run_until_signal
    from .cli.program import tell_connection as tell_connection
    from .client import Client as Client
    from .client import connect as connect
    from .codes import AddWatchMode as AddWatchMode
    from .codes import CreateMode as CreateMode
    from .codes import ErrorCode as ErrorCode
    from .codes import EventType as EventType
    from .codes import KeeperState as KeeperState
    from .codes import OpCode as OpCode
    from .codes import Perms as Perms
    from .codes import WatcherType as WatcherType
    from .codes import Xid as Xid
    from .connection import Connection as Connection
    from .connection import ConnectionState as ConnectionState
    from .connection import Request as Request
    from .errors import *  # noqa: F403
    from .events import NEED_DATA as NEED_DATA
    from .events import Direction as Direction
    from .events import Frame as Frame
    from .events import SessionInfo as SessionInfo
    from .events import WatchedEvent as WatchedEvent
    from .hosts import HostsError as HostsError
    from .nursery import HiddenNursery as HiddenNursery
    from .nursery import beside as beside
    from .program import run as run
    from .records import ACL as ACL
    from .records import ClientInfo as ClientInfo
    from .records import Id as Id
    from .records import Stat as Stat
    from .sasl import DigestMD5 as DigestMD5
    from .sasl import Mechanism as Mechanism
    from .sasl import SaslError as SaslError
    from .session import Session as Session
    from .tap import Tap as Tap
    from .trace import format_frame as format_frame
    from .trace import print_frame as print_frame
    from .verbs import CREATOR_ALL_ACL as CREATOR_ALL_ACL
    from .verbs import OPEN_ACL_UNSAFE as OPEN_ACL_UNSAFE
    from .verbs import READ_ACL_UNSAFE as READ_ACL_UNSAFE
    from .verbs import Check as Check
    from .verbs import Create as Create
    from .verbs import Delete as Delete
    from .verbs import GetChildren as GetChildren
    from .verbs import GetData as GetData
    from .verbs import MultiOperation as MultiOperation
    from .verbs import MultiReadOperation as MultiReadOperation
    from .verbs import SetData as SetData
    from .watching import StateStream as StateStream
    from .watching import Watch as Watch
    from .watching import WatchStream as WatchStream

__version__ = "0.1.0"

#: Public names by the module that has them.
_PUBLIC = {
    "bound": "BoundClient",
    "cli.program": (
        "CommandParser EndedBySignal add_connection_options check_path connect_arguments run_until_signal "
        "tell_connection"
    ),
    "client": "Client connect",
    "codes": "AddWatchMode CreateMode ErrorCode EventType KeeperState OpCode Perms WatcherType Xid",
    "connection": "Connection ConnectionState Request",
    "errors": (
        "APIError AuthFailedError BadArgumentsError BadVersionError ClosedError ClosingError ConnectionLossError "
        "DataInconsistencyError EphemeralOnLocalSessionError InvalidACLError InvalidCallbackError InvalidStateError "
        "LocalProtocolError MarshallingError NewConfigNoQuorumError NoAuthError NoChildrenForEphemeralsError "
        "NoNodeError NoServerError NoWatcherError NodeExistsError NotEmptyError NotReadOnlyError NothingError "
        "OperationTimeoutError ProtocolError QuotaExceededError ReconfigDisabledError ReconfigInProgressError "
        "RemoteProtocolError ReplyTooLongError RequestTimeoutError RuntimeInconsistencyError SSLConnectionError "
        "SessionClosedRequireSaslAuthError SessionExpiredError SessionMovedError SystemErrorError ThrottledOpError "
        "UnimplementedError UnknownSessionError ZkwireError ZooKeeperError"
    ),
    "events": "Direction Frame NEED_DATA SessionInfo WatchedEvent",
    "hosts": "HostsError",
    "nursery": "HiddenNursery beside",
    "program": "run",
    "records": "ACL ClientInfo Id Stat",
    "sasl": "DigestMD5 Mechanism SaslError",
    "session": "Session",
    "tap": "Tap",
    "trace": "format_frame print_frame",
    "verbs": (
        "CREATOR_ALL_ACL Check Create Delete GetChildren GetData MultiOperation MultiReadOperation "
        "OPEN_ACL_UNSAFE READ_ACL_UNSAFE SetData"
    ),
    "watching": "StateStream Watch WatchStream",
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
