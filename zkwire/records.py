"""Every record that clients and servers of ZooKeeper 3.9 exchange: names and order as in zookeeper.jute, no behaviour.

Field order is byte order. A `UString`, `Buffer` or `Vector` may be None: Jute's null, length -1. Our transcription of
the `.jute` text is vendor-jute/zookeeper.jute; tests/house/test_vendor_jute.py holds the two equal.

The text of a field is its note: its unit, its enum (of zkwire/codes.py) or its range. `zkwire describe` and
docs/protocol.md show the notes and the docstrings. Docstrings are assigned to `__doc__`: `python -OO` would strip them
otherwise.
"""

from typing import Annotated

from .codes import Perms
from .jute import Boolean, Buffer, Int, Long, Record, Secret, TrailingBoolean, UString, Vector

# --- org.apache.zookeeper.data


class Id(Record):
    __doc__ = """An identity: a scheme ("world", "auth", "digest", "ip", "x509", "sasl") and an id in that scheme."""

    scheme: UString
    id: Annotated[UString, "its form depends on the scheme"]


class ACL(Record):
    __doc__ = "What one identity may do with a znode."

    perms: Annotated[Int, "bit set of Perms: READ 1, WRITE 2, CREATE 4, DELETE 8, ADMIN 16"]
    id: Id


class Stat(Record):
    __doc__ = "A znode's metadata, always 68 bytes."

    czxid: Annotated[Long, "zxid of the create"]
    mzxid: Annotated[Long, "zxid of the last setData; until then, of the create"]
    ctime: Annotated[Long, "time of the create: milliseconds since 1970 by the leader's clock"]
    mtime: Annotated[
        Long, "time of the last setData, until then of the create: milliseconds since 1970 by the leader's clock"
    ]
    version: Annotated[Int, "number of setData since the create"]
    cversion: Annotated[Int, "number of creates and deletes of children; -1 on a root that never had any"]
    aversion: Annotated[Int, "number of setACL since the create"]
    ephemeral_owner: Annotated[Long, "session id; 0 for all that is not ephemeral, containers and TTL znodes too"]
    data_length: Annotated[Int, "bytes of data; 0 for null data too"]
    num_children: Annotated[Int, "number of direct children"]
    pzxid: Annotated[Long, "zxid of the last create or delete of a child; until then, of the znode's own create"]


class ClientInfo(Record):
    __doc__ = "One identity of a connection, as whoAmI shows it."

    auth_scheme: UString
    user: Annotated[UString, "the id, without its secret"]


# --- org.apache.zookeeper.proto: the envelope


class ConnectRequest(Record):
    __doc__ = "The first frame to the server. It has no header before it."

    protocol_version: Annotated[Int, "always 0"]
    last_zxid_seen: Annotated[
        Long, "newest zxid that the client has seen, 0: none; a server that has not seen it hangs up"
    ]
    time_out: Annotated[Int, "session timeout that the client wants, in milliseconds"]
    session_id: Annotated[Long, "the session to resume; 0 asks for a new one"]
    passwd: Annotated[Secret, "16 bytes; zeros for a new session"]
    read_only: Annotated[TrailingBoolean, "True: the client takes a server without a quorum; absent before 3.4"]


class ConnectResponse(Record):
    __doc__ = "The first frame from the server. It has no header before it."

    protocol_version: Annotated[Int, "always 0"]
    time_out: Annotated[Int, "session timeout granted, in milliseconds; 0: the session is expired or not accepted"]
    session_id: Annotated[Long, "the session's id; 0 when it is not accepted"]
    passwd: Annotated[Secret, "16 bytes, with which the session can be resumed; zeros when it is not accepted"]
    read_only: Annotated[
        TrailingBoolean,
        "True: the server has no quorum; absent when the request had none (3.9.0 to 3.9.2 send it all the same)",
    ]


class RequestHeader(Record):
    __doc__ = "Begins every frame to the server except the first."

    xid: Annotated[Int, "number of the request, from 1 on, which its reply repeats; or a reserved one of Xid"]
    type: Annotated[Int, "an OpCode"]


class ReplyHeader(Record):
    __doc__ = "Begins every frame from the server except the first."

    xid: Annotated[Int, "the request's xid, or one of Xid: -1 (NOTIFICATION), -2 (PING), -4 (AUTH)"]
    zxid: Annotated[
        Long,
        "zxid of the write that the reply or event belongs to, else the newest on this server; -1 in events before 3.9 "
        "and in those of setWatches; 0 for auth and sasl",
    ]
    err: Annotated[Int, "an ErrorCode; 0 (OK): the response follows; else nothing follows, save for sasl and multiRead"]


class MultiHeader(Record):
    __doc__ = "Comes before each operation and each result of a multi or multiRead, and ends the list."

    type: Annotated[Int, "an OpCode; -1 (ERROR) in an error result and in the end mark"]
    done: Annotated[Boolean, "True in the end mark only"]
    err: Annotated[Int, "an ErrorCode in results; -1 in requests and in the end mark"]


class WatcherEvent(Record):
    __doc__ = "Body of a notification (xid -1)."

    type: Annotated[Int, "an EventType: 1 to 4 from a server"]
    state: Annotated[Int, "a KeeperState: always 3 (SYNC_CONNECTED) from a server"]
    path: UString


class ErrorResponse(Record):
    __doc__ = "An error result inside multi and multiRead, and the reply to addWatch."

    err: Annotated[
        Int,
        "an ErrorCode; in a failed multi 0 (OK) for each operation before the one that failed and -2 "
        "(RUNTIME_INCONSISTENCY) for each after it; 0 in the reply to addWatch",
    ]


class AuthPacket(Record):
    __doc__ = "Gives the connection one more identity."

    type: Annotated[Int, "always 0; servers ignore it"]
    scheme: UString
    auth: Annotated[Secret, 'for the scheme digest "user:password"']


class GetSASLRequest(Record):
    token: Annotated[Secret, "the client's next token"]


class SetSASLRequest(Record):
    __doc__ = "Declared by ZooKeeper next to the other two records of SASL; no opcode carries it."

    token: Secret


class SetSASLResponse(Record):
    token: Annotated[Secret, "the server's next token; null from a server without SASL"]


# --- requests


class CreateRequest(Record):
    path: UString
    data: Annotated[Buffer, "null is kept as null"]
    acl: Vector[ACL]
    flags: Annotated[Int, "a CreateMode, 0 to 6: a number, not bits"]


class CreateTTLRequest(Record):
    path: UString
    data: Annotated[Buffer, "null is kept as null"]
    acl: Vector[ACL]
    flags: Annotated[Int, "a CreateMode, 5 or 6 only: any other with ttl -1 stops the server for good"]
    ttl: Annotated[Long, "time to live in milliseconds, 1 to 1099511627775 (2^40-1)"]


class DeleteRequest(Record):
    path: UString
    version: Annotated[Int, "the Stat.version that the znode must have; -1 for any"]


class ExistsRequest(Record):
    path: UString
    watch: Annotated[Boolean, "True sets a data watch, or an exist watch where there is no such znode"]


class GetDataRequest(Record):
    path: UString
    watch: Annotated[Boolean, "True sets a data watch; ignored inside multiRead"]


class SetDataRequest(Record):
    path: UString
    data: Annotated[Buffer, "null is kept as null"]
    version: Annotated[Int, "the Stat.version that the znode must have; -1 for any"]


class GetACLRequest(Record):
    path: UString


class SetACLRequest(Record):
    path: UString
    acl: Vector[ACL]
    version: Annotated[Int, "the Stat.aversion that the znode must have; -1 for any"]


class GetChildrenRequest(Record):
    path: UString
    watch: Annotated[Boolean, "True sets a child watch; ignored inside multiRead"]


class GetChildren2Request(Record):
    path: UString
    watch: Annotated[Boolean, "True sets a child watch"]


class SyncRequest(Record):
    path: Annotated[UString, "the reply repeats it; servers do not look at it"]


class CheckVersionRequest(Record):
    path: UString
    version: Annotated[Int, "the Stat.version that the znode must have; -1 for any"]


class ReconfigRequest(Record):
    __doc__ = "Any of the strings may be null."

    joining_servers: UString
    leaving_servers: UString
    new_members: Annotated[UString, "the whole membership, in place of the two above"]
    cur_config_id: Annotated[Long, "version of the configuration that it applies to, a zxid; -1 for any"]


class CheckWatchesRequest(Record):
    path: UString
    type: Annotated[Int, "a WatcherType: 1 to 3; 4 and 5 since 3.9.0"]


class RemoveWatchesRequest(Record):
    path: UString
    type: Annotated[Int, "a WatcherType: 1 to 3; 4 and 5 since 3.9.0"]


class SetWatches(Record):
    relative_zxid: Annotated[Long, "newest zxid that the client has seen; events of later changes come at once"]
    data_watches: Vector[UString]
    exist_watches: Vector[UString]
    child_watches: Vector[UString]


class SetWatches2(Record):
    relative_zxid: Annotated[Long, "newest zxid that the client has seen; events of later changes come at once"]
    data_watches: Vector[UString]
    exist_watches: Vector[UString]
    child_watches: Vector[UString]
    persistent_watches: Vector[UString]
    persistent_recursive_watches: Vector[UString]


class AddWatchRequest(Record):
    path: UString
    mode: Annotated[Int, "an AddWatchMode: 0 (PERSISTENT) or 1 (PERSISTENT_RECURSIVE)"]


class GetEphemeralsRequest(Record):
    prefix_path: Annotated[UString, "the first characters of a path, not a parent"]


class GetAllChildrenNumberRequest(Record):
    path: UString


# --- responses


class CreateResponse(Record):
    path: Annotated[UString, "the real one, with its sequence digits"]


class Create2Response(Record):
    path: Annotated[UString, "the real one, with its sequence digits"]
    stat: Stat


class ExistsResponse(Record):
    stat: Stat


class GetDataResponse(Record):
    data: Buffer
    stat: Stat


class SetDataResponse(Record):
    stat: Stat


class GetACLResponse(Record):
    acl: Vector[ACL]
    stat: Stat


class SetACLResponse(Record):
    stat: Stat


class GetChildrenResponse(Record):
    children: Annotated[Vector[UString], "names without the parent's path, in no promised order"]


class GetChildren2Response(Record):
    children: Annotated[Vector[UString], "names without the parent's path, in no promised order"]
    stat: Stat


class SyncResponse(Record):
    path: UString


class GetEphemeralsResponse(Record):
    ephemerals: Annotated[Vector[UString], "whole paths, of this session only"]


class GetAllChildrenNumberResponse(Record):
    total_number: Annotated[Int, "number of descendants, the znode itself not counted"]


class WhoAmIResponse(Record):
    client_info: Vector[ClientInfo]


# --- the ACLs of org.apache.zookeeper.ZooDefs.Ids

#: Anyone may do anything. Source: ZooDefs.Ids.
OPEN_ACL_UNSAFE: tuple[ACL, ...] = (ACL(Perms.ALL, Id("world", "anyone")),)
#: Every identity that this connection has authenticated may do anything.
CREATOR_ALL_ACL: tuple[ACL, ...] = (ACL(Perms.ALL, Id("auth", "")),)
#: Anyone may read.
READ_ACL_UNSAFE: tuple[ACL, ...] = (ACL(Perms.READ, Id("world", "anyone")),)
