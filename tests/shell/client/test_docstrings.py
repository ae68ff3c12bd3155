"""Each method's docstring names the errors that the operations table says the server may refuse it with."""

from __future__ import annotations

import re

import pytest

from zkwire import operations as ops
from zkwire.client.client import Client
from zkwire.client.verbs import Verbs
from zkwire.codes import ErrorCode
from zkwire.errors import error_from_code
from zkwire.operations import ANY_OPERATION, Operation

_E = ErrorCode
_CREATES = (ops.CREATE, ops.CREATE_CONTAINER, ops.CREATE_TTL)

#: The operations that a method sends, and the errors of them that it does not raise.
SENDS: dict[str, tuple[tuple[Operation, ...], set[ErrorCode]]] = {
    "create": (_CREATES, set()),
    "create2": ((ops.CREATE2, ops.CREATE_CONTAINER, ops.CREATE_TTL), set()),
    "delete": ((ops.DELETE,), set()),
    "exists": ((ops.EXISTS,), {_E.NO_NODE}),  # the result is None
    "get_data": ((ops.GET_DATA,), set()),
    "set_data": ((ops.SET_DATA,), set()),
    "get_children": ((ops.GET_CHILDREN,), set()),
    "get_children2": ((ops.GET_CHILDREN2,), set()),
    "get_all_children_number": ((ops.GET_ALL_CHILDREN_NUMBER,), set()),
    "get_ephemerals": ((ops.GET_EPHEMERALS,), set()),
    "get_acl": ((ops.GET_ACL,), set()),
    "set_acl": ((ops.SET_ACL,), set()),
    "sync": ((ops.SYNC,), set()),
    # It is content with a znode that exists, and creates persistent ones only.
    "ensure_path": ((ops.CREATE,), {_E.NODE_EXISTS, _E.EPHEMERAL_ON_LOCAL_SESSION}),
    "get_data_and_watch": ((ops.GET_DATA,), set()),
    "exists_and_watch": ((ops.EXISTS,), {_E.NO_NODE}),
    "get_children_and_watch": ((ops.GET_CHILDREN,), set()),
    "get_children2_and_watch": ((ops.GET_CHILDREN2,), set()),
    "add_watch": ((ops.ADD_WATCH,), set()),
    "check_watches": ((ops.CHECK_WATCHES,), {_E.NO_WATCHER}),  # the result is False
    "multi": (tuple(row for row in ops.OPERATIONS.values() if row.in_multi), set()),
    "multi_read": ((ops.MULTI_READ,), set()),  # the errors of its operations are results
    "who_am_i": ((ops.WHO_AM_I,), set()),
    "get_config": ((ops.GET_DATA,), set()),
    "reconfig": ((ops.RECONFIG,), set()),
    "add_auth": ((ops.AUTH,), set()),
}


def raises(method: str) -> set[str]:
    """The classes that the "Raises:" part of the docstring names."""
    text = getattr(Client, method).__doc__.partition("Raises:\n")[2]
    lines = [line for line in text.splitlines() if re.match(r" {12}\w", line)]
    return {name for line in lines for name in re.findall(r"\w+Error", line.partition(":")[0])}


def names(codes: set[ErrorCode]) -> set[str]:
    return {type(error_from_code(code, None, "")).__name__ for code in codes}


@pytest.mark.parametrize("method", SENDS)
def test_docstring_names_the_errors_of_the_operations_row_and_no_others(method: str) -> None:
    """Those that any operation may fail with (ANY_OPERATION) are named only where a row lists them too. The docstring
    of Verbs names them once for all methods, and NotReadOnlyError with them."""
    rows, not_raised = SENDS[method]
    assert raises(method) == names({code for row in rows for code in row.errors} - not_raised)


def test_errors_of_any_operation_are_named_once_for_all_methods() -> None:
    assert Verbs.__doc__ is not None
    assert names({*ANY_OPERATION, _E.NOT_READ_ONLY}) <= set(re.findall(r"\w+Error", Verbs.__doc__))


def test_no_method_is_left_out() -> None:
    methods = {name for name, value in vars(Verbs).items() if callable(value) and not name.startswith("_")}
    assert methods | {"add_auth"} == set(SENDS)
