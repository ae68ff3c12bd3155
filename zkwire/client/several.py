"""What `multi` and `multi_read` take, and what they return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .. import operations as ops
from .. import paths
from ..codes import CreateMode, OpCode
from ..errors import BadArgumentsError, LocalProtocolError, RemoteProtocolError, ZooKeeperError
from ..multi import MultiItem, MultiReadRequest, MultiRequest, MultiResponse, item
from ..records import (
    ACL,
    OPEN_ACL_UNSAFE,
    CheckVersionRequest,
    Create2Response,
    CreateResponse,
    DeleteRequest,
    ErrorResponse,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    SetDataRequest,
    SetDataResponse,
)
from ..session.requests import frozen
from ..text import counted
from .arguments import create_request, refusal, required, server_path

if TYPE_CHECKING:
    from ..jute import Record

T = TypeVar("T")


class MultiOperation:
    """What `multi` takes: Create, Delete, SetData and Check."""

    path: str


class MultiReadOperation:
    """What `multi_read` takes: GetData and GetChildren."""

    path: str


@dataclass(frozen=True)
class Create(MultiOperation):
    """create inside multi. Its result is the path; with `with_stat`, (path, Stat). Servers before 3.7.2, 3.8.2 and
    3.9.0 send no Stat: then it is None (rule 70 of docs/client-rules.md)."""

    path: str
    data: bytes | None = b""
    mode: CreateMode = CreateMode.PERSISTENT
    acl: Sequence[ACL] = OPEN_ACL_UNSAFE
    ttl: float | None = None
    with_stat: bool = False


@dataclass(frozen=True)
class Delete(MultiOperation):
    """delete inside multi. Its result is None."""

    path: str
    version: int = -1


@dataclass(frozen=True)
class SetData(MultiOperation):
    """setData inside multi. Its result is the Stat."""

    path: str
    data: bytes | None
    version: int = -1


@dataclass(frozen=True)
class Check(MultiOperation):
    """check inside multi: the multi fails unless the znode exists and has this version (-1: any). Its result is
    None."""

    path: str
    version: int = -1


@dataclass(frozen=True)
class GetData(MultiReadOperation):
    """getData inside multiRead. Its result is (data, Stat)."""

    path: str


@dataclass(frozen=True)
class GetChildren(MultiReadOperation):
    """getChildren inside multiRead. Its result is the list of names."""

    path: str


# --- requests


def multi_request(chroot: str, operations: Iterable[MultiOperation]) -> tuple[tuple[MultiOperation, ...], MultiRequest]:
    """The operations, and the request for them. Raises LocalProtocolError or BadArgumentsError, which says which
    operation is wrong."""
    asked = _all("multi", operations)
    items = []
    for index, operation in enumerate(asked):
        with _numbered("multi", index):
            items.append(_multi_item(chroot, operation))
    return asked, frozen(MultiRequest(tuple(items)))


def multi_read_request(
    chroot: str, operations: Iterable[MultiReadOperation]
) -> tuple[tuple[MultiReadOperation, ...], MultiReadRequest]:
    """As `multi_request`, for multiRead."""
    asked = _all("multiRead", operations)
    items = []
    for index, operation in enumerate(asked):
        with _numbered("multiRead", index):
            items.append(_multi_read_item(chroot, operation))
    return asked, MultiReadRequest(tuple(items))


def _all(name: str, operations: Iterable[T]) -> tuple[T, ...]:
    """A copy of the operations, since a generator can be read only once, and a list may change later."""
    if not isinstance(operations, Iterable):
        raise LocalProtocolError(f"{name} takes a list of operations, not {operations!r:.60}")
    return tuple(operations)


@contextmanager
def _numbered(name: str, index: int) -> Iterator[None]:
    """Adds the operation's index in the multi to its error."""
    try:
        yield
    except BadArgumentsError as error:
        error.operation = f"{name}[{index}] {error.operation}"
        error.index = index
        raise
    except LocalProtocolError as error:
        raise LocalProtocolError(f"{name}[{index}]: {error}") from None


def _multi_item(chroot: str, operation: MultiOperation) -> MultiItem:
    match operation:
        case Create(path, data, mode, acl, ttl, with_stat):
            row, record = create_request(chroot, path, data, mode, acl, ttl, with_stat=with_stat)
            return item(row.opcode, record)
        case Delete(path, version):
            return item(OpCode.DELETE, DeleteRequest(server_path(chroot, path, ops.DELETE), version))
        case SetData(path, data, version):
            return item(OpCode.SET_DATA, SetDataRequest(server_path(chroot, path, ops.SET_DATA), data, version))
        case Check(path, version):
            return item(OpCode.CHECK, CheckVersionRequest(server_path(chroot, path, ops.CHECK), version))
    raise LocalProtocolError(f"multi takes Create, Delete, SetData and Check, not {operation!r}")


def _multi_read_item(chroot: str, operation: MultiReadOperation) -> MultiItem:
    match operation:
        case GetData(path=path):
            return item(OpCode.GET_DATA, GetDataRequest(server_path(chroot, path, ops.GET_DATA), False))
        case GetChildren(path=path):
            return item(OpCode.GET_CHILDREN, GetChildrenRequest(server_path(chroot, path, ops.GET_CHILDREN), False))
    raise LocalProtocolError(f"multiRead takes GetData and GetChildren, not {operation!r}")


# --- results


def multi_results(
    chroot: str, asked: Sequence[MultiOperation], request: MultiRequest, response: MultiResponse
) -> list[Any]:
    """The result of each operation. Raises the error of the first that failed.

    A failed multi has err 0 in its header. The errors are in the body: one for each operation, 0 for those before the
    first that failed (rule 68).
    """
    _same_count(asked, response)
    errors = [body.err for _, body in response if isinstance(body, ErrorResponse)]
    if errors:
        if len(errors) != len(asked):
            raise RemoteProtocolError(f"MultiResponse: expected no error or {len(asked)}, got {len(errors)}")
        index = next((place for place, err in enumerate(errors) if err), 0)
        names = [ops.BY_OPCODE[header.type].name for header, _ in request]
        error = _refusal(chroot, errors[index], asked[index].path, f"multi[{index}] {names[index]}")
        error.index = index
        error.results = [
            None if err == 0 else _refusal(chroot, err, operation.path, name)
            for err, operation, name in zip(errors, asked, names)
        ]
        raise error
    return [_multi_result(chroot, operation, body) for operation, (_, body) in zip(asked, response)]


def multi_read_results(chroot: str, asked: Sequence[MultiReadOperation], response: MultiResponse) -> list[Any]:
    """The result of each operation, or its error, not raised."""
    _same_count(asked, response)
    return [_multi_read_result(chroot, operation, body) for operation, (_, body) in zip(asked, response)]


def _multi_result(chroot: str, operation: MultiOperation, body: Any) -> Any:
    match operation:
        case Create(with_stat=with_stat):
            made = _result(body, CreateResponse, Create2Response)
            path = paths.strip(chroot, required(made.path, "CreateResponse.path"))
            return (path, getattr(made, "stat", None)) if with_stat else path
        case SetData():
            return _result(body, SetDataResponse).stat
    return None


def _multi_read_result(chroot: str, operation: MultiReadOperation, body: Any) -> Any:
    if isinstance(body, ErrorResponse):
        return _refusal(chroot, body.err, operation.path, "multiRead")
    if isinstance(operation, GetData):
        return tuple(_result(body, GetDataResponse))
    return children(_result(body, GetChildrenResponse))


def children(response: Any) -> list[str]:
    """The names in a response to getChildren or getChildren2."""
    found = required(response.children, "GetChildrenResponse.children")
    if None in found:
        raise RemoteProtocolError(f"GetChildrenResponse.children[{found.index(None)}]: expected a name, got null")
    return list(found)


def _result(body: object, *expected: type[Record]) -> Any:
    """The result, which must be one of these records. A server might answer with another one."""
    if not isinstance(body, expected):
        wanted = " or ".join(record.__name__ for record in expected)
        raise RemoteProtocolError(f"MultiResponse: expected a {wanted}, got {body!r:.80}")
    return body


def _same_count(asked: Sequence[object], response: MultiResponse) -> None:
    if len(asked) != len(response):
        raise RemoteProtocolError(f"MultiResponse: expected {counted(len(asked), 'result')}, got {len(response)}")


def _refusal(chroot: str, code: int, client_path: str, operation: str) -> ZooKeeperError:
    return refusal(chroot, code, paths.under(chroot, client_path), operation)
