"""Every record that a client meets on the wire of ZooKeeper 3.9: names and order as in zookeeper.jute, no behaviour.

Field order is byte order. `UString`, `Buffer` and `Vector` may be None: Jute's null, length -1. Our transcription of
the `.jute` text is vendor-jute/zookeeper.jute; tests/test_vendor_jute.py holds the two equal.
"""

from .jute import Boolean, Buffer, Int, Long, Record, TrailingBoolean, UString, Vector

# --- org.apache.zookeeper.data


class Id(Record):
    """Who: a scheme ("world", "auth", "digest", "ip", "x509", "sasl") and an id in that scheme."""

    scheme: UString
    id: UString


class ACL(Record):
    """What (bits of `Perms`) is allowed to whom."""

    perms: Int
    id: Id


class Stat(Record):
    """A znode's metadata, always 68 bytes. Times are milliseconds of the leader's wall clock."""

    czxid: Long  # zxid of the create
    mzxid: Long  # zxid of the last setData
    ctime: Long
    mtime: Long
    version: Int  # number of setData since creation
    cversion: Int  # creates and deletes of children; -1 on a root that never had any
    aversion: Int  # number of setACL
    ephemeral_owner: Long  # session id; 0 for all that is not ephemeral, containers and TTL znodes too
    data_length: Int
    num_children: Int
    pzxid: Long  # zxid of the last create or delete of a child


class ClientInfo(Record):
    """One identity of a connection, as whoAmI shows it."""

    auth_scheme: UString
    user: UString


# --- org.apache.zookeeper.proto: the envelope


class ConnectRequest(Record):
    """The first frame to the server. It has no header; `time_out` is milliseconds."""

    protocol_version: Int
    last_zxid_seen: Long
    time_out: Int
    session_id: Long  # 0 asks for a new session
    passwd: Buffer
    read_only: TrailingBoolean  # absent before 3.4


class ConnectResponse(Record):
    """The first frame from the server. `time_out` 0: the session is expired or not accepted."""

    protocol_version: Int
    time_out: Int
    session_id: Long
    passwd: Buffer
    read_only: TrailingBoolean  # absent when the request had none


class RequestHeader(Record):
    xid: Int
    type: Int


class ReplyHeader(Record):
    xid: Int
    zxid: Long
    err: Int


class MultiHeader(Record):
    """In front of each operation and each result of a multi; `done` marks the terminator."""

    type: Int
    done: Boolean
    err: Int


class WatcherEvent(Record):
    """Body of a notification (xid -1)."""

    type: Int
    state: Int
    path: UString


class ErrorResponse(Record):
    err: Int


class AuthPacket(Record):
    type: Int  # 0; the server ignores it
    scheme: UString
    auth: Buffer


class GetSASLRequest(Record):
    token: Buffer


class SetSASLRequest(Record):
    token: Buffer


class SetSASLResponse(Record):
    token: Buffer


# --- requests


class CreateRequest(Record):
    path: UString
    data: Buffer
    acl: Vector[ACL]
    flags: Int


class CreateTTLRequest(Record):
    path: UString
    data: Buffer
    acl: Vector[ACL]
    flags: Int
    ttl: Long


class DeleteRequest(Record):
    path: UString
    version: Int  # -1 matches any version


class ExistsRequest(Record):
    path: UString
    watch: Boolean


class GetDataRequest(Record):
    path: UString
    watch: Boolean


class SetDataRequest(Record):
    path: UString
    data: Buffer
    version: Int  # -1 matches any version


class GetACLRequest(Record):
    path: UString


class SetACLRequest(Record):
    path: UString
    acl: Vector[ACL]
    version: Int  # of the ACL (Stat.aversion); -1 matches any


class GetChildrenRequest(Record):
    path: UString
    watch: Boolean


class GetChildren2Request(Record):
    path: UString
    watch: Boolean


class SyncRequest(Record):
    path: UString


class CheckVersionRequest(Record):
    path: UString
    version: Int


class ReconfigRequest(Record):
    joining_servers: UString
    leaving_servers: UString
    new_members: UString
    cur_config_id: Long  # zxid of the configuration it applies to; -1 matches any


class CheckWatchesRequest(Record):
    path: UString
    type: Int


class RemoveWatchesRequest(Record):
    path: UString
    type: Int


class SetWatches(Record):
    relative_zxid: Long
    data_watches: Vector[UString]
    exist_watches: Vector[UString]
    child_watches: Vector[UString]


class SetWatches2(Record):
    relative_zxid: Long
    data_watches: Vector[UString]
    exist_watches: Vector[UString]
    child_watches: Vector[UString]
    persistent_watches: Vector[UString]
    persistent_recursive_watches: Vector[UString]


class AddWatchRequest(Record):
    path: UString
    mode: Int


class GetEphemeralsRequest(Record):
    prefix_path: UString


class GetAllChildrenNumberRequest(Record):
    path: UString


# --- responses


class CreateResponse(Record):
    path: UString  # the real one, with its sequence digits


class Create2Response(Record):
    path: UString
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
    children: Vector[UString]  # names only, in no order


class GetChildren2Response(Record):
    children: Vector[UString]
    stat: Stat


class SyncResponse(Record):
    path: UString


class GetEphemeralsResponse(Record):
    ephemerals: Vector[UString]  # full paths


class GetAllChildrenNumberResponse(Record):
    total_number: Int  # all descendants, the znode itself not counted


class WhoAmIResponse(Record):
    client_info: Vector[ClientInfo]
