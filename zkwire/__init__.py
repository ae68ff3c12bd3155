"""The ZooKeeper wire protocol, fully visible.

The wire: what both ends agree on.

    jute/         Jute: types, records, and the two codecs made from one declaration
    codes         every number that has a meaning in the protocol
    text          names, counts and hexadecimal numbers for people
    paths, hosts  which paths can name a znode; connect strings
    errors        every error, with one class for each code of the server
    records       every record on the wire
    frames        a frame: its length, its headers, which records follow; the receive buffer
    multi         the bodies of multi and multiRead
    operations    the table of operations: one row with all that is known about each

To speak it:

    session/      the client's side of a session, without input or output
    client/       the client on trio: connect() and Client

To look at it:

    explain/      one frame: as annotated text, as a sentence, worked out from its bytes alone
    traffic/      frames on their way, connection by connection: faults, reports, recordings
    capture/      files of captured packets in, frames out
    wireshark/    the dissector for Wireshark

Built on both:

    tap/          a proxy that shows the frames that pass, and can inject faults
    cli/          the command line

Only client/, tap/ and cli/ use trio, a clock or a socket. All other modules are given bytes and the time, and return
events and bytes.
Names are loaded when they are first used, so that the core can be imported without trio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cli.program import CommandParser as CommandParser
    from .cli.program import EndedBySignal as EndedBySignal
    from .cli.program import add_connection_options as add_connection_options
    from .cli.program import check_path as check_path
    from .cli.program import connect_arguments as connect_arguments
    from .cli.program import run_until_signal as run_until_signal
    from .cli.program import tell_connection as tell_connection
    from .client.bound import BoundClient as BoundClient
    from .client.client import Client as Client
    from .client.client import connect as connect
    from .client.handles import StateStream as StateStream
    from .client.handles import Watch as Watch
    from .client.handles import WatchStream as WatchStream
    from .client.nursery import HiddenNursery as HiddenNursery
    from .client.nursery import beside as beside
    from .client.program import run as run
    from .client.several import Check as Check
    from .client.several import Create as Create
    from .client.several import Delete as Delete
    from .client.several import GetChildren as GetChildren
    from .client.several import GetData as GetData
    from .client.several import MultiOperation as MultiOperation
    from .client.several import MultiReadOperation as MultiReadOperation
    from .client.several import SetData as SetData
    from .codes import AddWatchMode as AddWatchMode
    from .codes import CreateMode as CreateMode
    from .codes import ErrorCode as ErrorCode
    from .codes import EventType as EventType
    from .codes import KeeperState as KeeperState
    from .codes import OpCode as OpCode
    from .codes import Perms as Perms
    from .codes import WatcherType as WatcherType
    from .codes import Xid as Xid
    from .errors import *  # noqa: F403
    from .explain.dump import format_frame as format_frame
    from .explain.dump import print_frame as print_frame
    from .frames import Direction as Direction
    from .frames import Frame as Frame
    from .hosts import Host as Host
    from .hosts import HostsError as HostsError
    from .hosts import parse_hosts as parse_hosts
    from .multi import MultiItem as MultiItem
    from .multi import MultiReadRequest as MultiReadRequest
    from .multi import MultiRequest as MultiRequest
    from .multi import MultiResponse as MultiResponse
    from .operations import ADD_WATCH as ADD_WATCH
    from .operations import AUTH as AUTH
    from .operations import CHECK as CHECK
    from .operations import CHECK_WATCHES as CHECK_WATCHES
    from .operations import CLOSE_SESSION as CLOSE_SESSION
    from .operations import CREATE as CREATE
    from .operations import CREATE2 as CREATE2
    from .operations import CREATE_CONTAINER as CREATE_CONTAINER
    from .operations import CREATE_TTL as CREATE_TTL
    from .operations import DELETE as DELETE
    from .operations import EXISTS as EXISTS
    from .operations import GET_ACL as GET_ACL
    from .operations import GET_ALL_CHILDREN_NUMBER as GET_ALL_CHILDREN_NUMBER
    from .operations import GET_CHILDREN as GET_CHILDREN
    from .operations import GET_CHILDREN2 as GET_CHILDREN2
    from .operations import GET_DATA as GET_DATA
    from .operations import GET_EPHEMERALS as GET_EPHEMERALS
    from .operations import MULTI as MULTI
    from .operations import MULTI_READ as MULTI_READ
    from .operations import OPERATIONS as OPERATIONS
    from .operations import PING as PING
    from .operations import RECONFIG as RECONFIG
    from .operations import REMOVE_WATCHES as REMOVE_WATCHES
    from .operations import SASL as SASL
    from .operations import SET_ACL as SET_ACL
    from .operations import SET_DATA as SET_DATA
    from .operations import SET_WATCHES as SET_WATCHES
    from .operations import SET_WATCHES2 as SET_WATCHES2
    from .operations import SYNC as SYNC
    from .operations import WHO_AM_I as WHO_AM_I
    from .operations import Operation as Operation
    from .records import *  # noqa: F403
    from .session.connection import Connection as Connection
    from .session.events import NEED_DATA as NEED_DATA
    from .session.events import AuthReplied as AuthReplied
    from .session.events import Connected as Connected
    from .session.events import Disconnected as Disconnected
    from .session.events import Failed as Failed
    from .session.events import Fired as Fired
    from .session.events import NeedData as NeedData
    from .session.events import Notified as Notified
    from .session.events import Ponged as Ponged
    from .session.events import Replied as Replied
    from .session.events import SessionInfo as SessionInfo
    from .session.events import SessionRefused as SessionRefused
    from .session.events import StateChanged as StateChanged
    from .session.events import TooLong as TooLong
    from .session.events import WatchedEvent as WatchedEvent
    from .session.requests import Request as Request
    from .session.sasl import DigestMD5 as DigestMD5
    from .session.sasl import Mechanism as Mechanism
    from .session.sasl import SaslError as SaslError
    from .session.servers import ServerSearch as ServerSearch
    from .session.session import Session as Session
    from .session.states import ConnectionState as ConnectionState
    from .tap.tap import Tap as Tap

__version__ = "0.1.0"

#: Public names by the module that has them.
_PUBLIC = {
    "cli.program": (
        "CommandParser EndedBySignal add_connection_options check_path connect_arguments run_until_signal "
        "tell_connection"
    ),
    "client.bound": "BoundClient",
    "client.client": "Client connect",
    "client.handles": "StateStream Watch WatchStream",
    "client.nursery": "HiddenNursery beside",
    "client.program": "run",
    "client.several": ("Check Create Delete GetChildren GetData MultiOperation MultiReadOperation SetData"),
    "codes": "AddWatchMode CreateMode ErrorCode EventType KeeperState OpCode Perms WatcherType Xid",
    "errors": (
        "APIError AuthFailedError BadArgumentsError BadVersionError ClosedError ClosingError ConnectionLossError "
        "DataInconsistencyError EphemeralOnLocalSessionError InvalidACLError InvalidCallbackError InvalidStateError "
        "LocalProtocolError MarshallingError NewConfigNoQuorumError NoAuthError NoChildrenForEphemeralsError "
        "NoNodeError NoServerError NoWatcherError NodeExistsError NotEmptyError NotReadOnlyError NothingError "
        "OperationTimeoutError ProtocolError QuotaExceededError ReconfigDisabledError ReconfigInProgressError "
        "RemoteProtocolError ReplyTooLongError RequestTimeoutError RuntimeInconsistencyError SSLConnectionError "
        "SessionClosedRequireSaslAuthError SessionExpiredError SessionMovedError SystemErrorError ThrottledOpError "
        "UnimplementedError UnknownSessionError ZkwireError ZooKeeperError error_from_code"
    ),
    "explain.dump": "format_frame print_frame",
    "frames": "Direction Frame",
    "hosts": "Host HostsError parse_hosts",
    "multi": "MultiItem MultiReadRequest MultiRequest MultiResponse",
    "operations": (
        "ADD_WATCH AUTH CHECK CHECK_WATCHES CLOSE_SESSION CREATE CREATE2 CREATE_CONTAINER CREATE_TTL DELETE "
        "EXISTS GET_ACL GET_ALL_CHILDREN_NUMBER GET_CHILDREN GET_CHILDREN2 GET_DATA GET_EPHEMERALS MULTI "
        "MULTI_READ OPERATIONS Operation PING RECONFIG REMOVE_WATCHES SASL SET_ACL SET_DATA SET_WATCHES "
        "SET_WATCHES2 SYNC WHO_AM_I"
    ),
    "records": (
        "CREATOR_ALL_ACL OPEN_ACL_UNSAFE READ_ACL_UNSAFE "
        "ACL AddWatchRequest AuthPacket CheckVersionRequest CheckWatchesRequest ClientInfo ConnectRequest "
        "ConnectResponse Create2Response CreateRequest CreateResponse CreateTTLRequest DeleteRequest "
        "ErrorResponse ExistsRequest ExistsResponse GetACLRequest GetACLResponse GetAllChildrenNumberRequest "
        "GetAllChildrenNumberResponse GetChildren2Request GetChildren2Response GetChildrenRequest "
        "GetChildrenResponse GetDataRequest GetDataResponse GetEphemeralsRequest GetEphemeralsResponse "
        "GetSASLRequest Id MultiHeader ReconfigRequest RemoveWatchesRequest ReplyHeader RequestHeader "
        "SetACLRequest SetACLResponse SetDataRequest SetDataResponse SetSASLRequest SetSASLResponse "
        "SetWatches SetWatches2 Stat SyncRequest SyncResponse WatcherEvent WhoAmIResponse"
    ),
    "session.connection": "Connection",
    "session.events": (
        "AuthReplied Connected Disconnected Failed Fired NEED_DATA NeedData Notified Ponged Replied "
        "SessionInfo SessionRefused StateChanged TooLong WatchedEvent"
    ),
    "session.requests": "Request",
    "session.sasl": "DigestMD5 Mechanism SaslError",
    "session.servers": "ServerSearch",
    "session.session": "Session",
    "session.states": "ConnectionState",
    "tap.tap": "Tap",
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
