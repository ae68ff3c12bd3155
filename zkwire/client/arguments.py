"""Checks the arguments of callers and turns them into what the server takes: paths with the chroot, creates, ACLs. Also
turns the server's errors into exceptions, with paths as the caller knows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from .. import operations as ops
from .. import paths
from ..codes import CreateMode, ErrorCode
from ..errors import BadArgumentsError, LocalProtocolError, RemoteProtocolError, ZooKeeperError, error_from_code
from ..operations import Operation
from ..records import ACL, CreateRequest, CreateTTLRequest

T = TypeVar("T")


def server_path(chroot: str, path: str, operation: Operation, *, sequential: bool = False) -> str:
    """The server's name for the path. Raises BadArgumentsError if it cannot be a znode's path."""
    reason = paths.problem(path, sequential=sequential)
    if reason is not None:
        raise BadArgumentsError(path if isinstance(path, str) else None, operation.name, reason=reason)
    if sequential and path == "/":
        return chroot + "/"  # the digits go after the slash, not after the chroot's name
    return paths.under(chroot, path)


def create_request(
    chroot: str,
    path: str,
    data: bytes | None,
    mode: CreateMode,
    acl: Sequence[ACL],
    ttl: float | None,
    *,
    with_stat: bool,
) -> tuple[Operation, CreateRequest | CreateTTLRequest]:
    """The operation that creates such a znode, and its request record. `ttl` is in seconds."""
    if not isinstance(mode, CreateMode):
        raise LocalProtocolError(f"create takes a CreateMode, not {mode!r}")
    if isinstance(data, bytearray):
        data = bytes(data)
    operation = ops.create_operation(mode, with_stat=with_stat)
    on_server = server_path(chroot, path, operation, sequential=mode.is_sequential)
    if mode.has_ttl:
        if not (isinstance(ttl, (int, float)) and abs(ttl) < math.inf):
            raise LocalProtocolError(f"{mode.name} needs a ttl in seconds, not {ttl!r:.60}")
        return operation, CreateTTLRequest(on_server, data, acl_of(acl, "create"), mode, round(ttl * 1000))
    if ttl is not None:
        raise LocalProtocolError(f"{mode.name} takes no ttl")
    return operation, CreateRequest(on_server, data, acl_of(acl, "create"), mode)


def acl_of(acl: Sequence[ACL], operation: str) -> tuple[ACL, ...]:
    if not isinstance(acl, (tuple, list)):
        raise LocalProtocolError(f"{operation} takes a sequence of ACL, not {acl!r:.60}")
    return tuple(acl)


def refusal(chroot: str, code: int, path: str | None, operation: str) -> ZooKeeperError:
    """The exception for an error code of the server. `path` is the server's, with the chroot."""
    error = error_from_code(code, None if path is None else paths.strip(chroot, path), operation)
    if chroot and code == ErrorCode.NO_NODE and f"{path}/".startswith(chroot + "/"):
        error.reason = _about_chroot(chroot, error.path or "/", operation)
    return error


def _about_chroot(chroot: str, path: str, operation: str) -> str:
    """What to do if `path` does not exist under the chroot. If the chroot is the parent of the znode to be created,
    then the chroot is missing."""
    if path == "/" or ("create" in operation and path.count("/") == 1):
        return f'the chroot {chroot} does not exist; ensure_path("/") creates it'
    return f'the server has no {chroot}{path}; ensure_path("/") creates the chroot {chroot} if it is missing too'


def required(value: T | None, place: str) -> T:
    """The value. Raises RemoteProtocolError if the server sent null where that has no meaning."""
    if value is None:
        raise RemoteProtocolError(f"{place}: expected a value, got null")
    return value
