"""The numbers of the protocol, against the tables of ZooKeeper's own sources, written out here once more."""

from __future__ import annotations

import pytest

from zkwire.codes import (
    MAX_TTL_MS,
    MAX_XID,
    AddWatchMode,
    CreateMode,
    ErrorCode,
    EventType,
    KeeperState,
    OpCode,
    Perms,
    WatcherType,
    Xid,
    member_or_int,
)

# ZooDefs.OpCode, as `name = number` in Java.
OPCODES = {
    "create": 1,
    "delete": 2,
    "exists": 3,
    "getData": 4,
    "setData": 5,
    "getACL": 6,
    "setACL": 7,
    "getChildren": 8,
    "sync": 9,
    "ping": 11,
    "getChildren2": 12,
    "check": 13,
    "multi": 14,
    "create2": 15,
    "reconfig": 16,
    "checkWatches": 17,
    "removeWatches": 18,
    "createContainer": 19,
    "deleteContainer": 20,
    "createTTL": 21,
    "multiRead": 22,
    "auth": 100,
    "setWatches": 101,
    "sasl": 102,
    "getEphemerals": 103,
    "getAllChildrenNumber": 104,
    "setWatches2": 105,
    "addWatch": 106,
    "whoAmI": 107,
    "createSession": -10,
    "closeSession": -11,
    "error": -1,
}

# KeeperException.Code, as in Java, and the three of the C client's zookeeper.h and its SSL code.
ERRORS = {
    "OK": 0,
    "SYSTEMERROR": -1,
    "RUNTIMEINCONSISTENCY": -2,
    "DATAINCONSISTENCY": -3,
    "CONNECTIONLOSS": -4,
    "MARSHALLINGERROR": -5,
    "UNIMPLEMENTED": -6,
    "OPERATIONTIMEOUT": -7,
    "BADARGUMENTS": -8,
    "INVALIDSTATE": -9,
    "UNKNOWNSESSION": -12,
    "NEWCONFIGNOQUORUM": -13,
    "RECONFIGINPROGRESS": -14,
    "SSLCONNECTIONERROR": -15,
    "APIERROR": -100,
    "NONODE": -101,
    "NOAUTH": -102,
    "BADVERSION": -103,
    "NOCHILDRENFOREPHEMERALS": -108,
    "NODEEXISTS": -110,
    "NOTEMPTY": -111,
    "SESSIONEXPIRED": -112,
    "INVALIDCALLBACK": -113,
    "INVALIDACL": -114,
    "AUTHFAILED": -115,
    "CLOSING": -116,
    "NOTHING": -117,
    "SESSIONMOVED": -118,
    "NOTREADONLY": -119,
    "EPHEMERALONLOCALSESSION": -120,
    "NOWATCHER": -121,
    "REQUESTTIMEOUT": -122,
    "RECONFIGDISABLED": -123,
    "SESSIONCLOSEDREQUIRESASLAUTH": -124,
    "QUOTAEXCEEDED": -125,
    "THROTTLEDOP": -127,
}


def test_opcodes_are_zookeepers_and_no_others() -> None:
    assert {code.name.replace("_", ""): code.value for code in OpCode} == {
        name.upper(): number for name, number in OPCODES.items()
    }


def test_error_codes_are_zookeepers_and_no_others() -> None:
    assert {code.name.replace("_", ""): code.value for code in ErrorCode} == ERRORS


def test_reserved_xids_are_the_three_of_the_java_client_and_the_one_of_the_c_client() -> None:
    assert {xid.name: xid.value for xid in Xid} == {"NOTIFICATION": -1, "PING": -2, "AUTH": -4, "SET_WATCHES": -8}


def test_ordinary_xids_are_positive_ints() -> None:
    assert MAX_XID == 0x7FFFFFFF


def test_event_types_are_javas_and_the_resync_mark() -> None:
    assert {kind.name: kind.value for kind in EventType} == {
        "NONE": -1,
        "NODE_CREATED": 1,
        "NODE_DELETED": 2,
        "NODE_DATA_CHANGED": 3,
        "NODE_CHILDREN_CHANGED": 4,
        "DATA_WATCH_REMOVED": 5,
        "CHILD_WATCH_REMOVED": 6,
        "PERSISTENT_WATCH_REMOVED": 7,
        "RESYNC": -3,  # free: -2 is the C client's NOTWATCHING
    }


def test_keeper_states_are_javas_without_the_obsolete_ones() -> None:
    assert {state.name: state.value for state in KeeperState} == {
        "DISCONNECTED": 0,
        "SYNC_CONNECTED": 3,
        "AUTH_FAILED": 4,
        "CONNECTED_READ_ONLY": 5,
        "SASL_AUTHENTICATED": 6,
        "CLOSED": 7,
        "EXPIRED": -112,
    }


def test_watcher_types_and_add_watch_modes_are_javas() -> None:
    assert {kind.name: kind.value for kind in WatcherType} == {
        "CHILDREN": 1,
        "DATA": 2,
        "ANY": 3,
        "PERSISTENT": 4,
        "PERSISTENT_RECURSIVE": 5,
    }
    assert {mode.name: mode.value for mode in AddWatchMode} == {"PERSISTENT": 0, "PERSISTENT_RECURSIVE": 1}


@pytest.mark.parametrize(
    ("mode", "flags", "sequential", "has_ttl"),
    [
        (CreateMode.PERSISTENT, 0, False, False),
        (CreateMode.EPHEMERAL, 1, False, False),
        (CreateMode.PERSISTENT_SEQUENTIAL, 2, True, False),
        (CreateMode.EPHEMERAL_SEQUENTIAL, 3, True, False),
        (CreateMode.CONTAINER, 4, False, False),
        (CreateMode.PERSISTENT_WITH_TTL, 5, False, True),
        (CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, 6, True, True),
    ],
)
def test_create_mode_has_the_properties_of_its_flags(
    mode: CreateMode, flags: int, sequential: bool, has_ttl: bool
) -> None:
    assert (mode.value, mode.is_sequential, mode.has_ttl) == (flags, sequential, has_ttl)


def test_create_mode_has_no_other_flags() -> None:
    assert sorted(CreateMode) == list(range(7))


def test_longest_time_to_live_fits_forty_bits() -> None:
    assert MAX_TTL_MS == 1_099_511_627_775


def test_permissions_are_the_five_bits() -> None:
    assert [Perms.READ, Perms.WRITE, Perms.CREATE, Perms.DELETE, Perms.ADMIN] == [1, 2, 4, 8, 16]
    assert int(Perms.ALL) == 1 + 2 + 4 + 8 + 16


def test_number_is_a_code_where_it_is_known_and_itself_where_not() -> None:
    assert member_or_int(EventType, 3) is EventType.NODE_DATA_CHANGED
    assert member_or_int(EventType, 99) == 99
    assert not isinstance(member_or_int(EventType, 99), EventType)
