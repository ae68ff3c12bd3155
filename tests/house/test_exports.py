"""zkwire's public names: each is there, is what its module has, and takes what DESIGN section 3 gives it."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

import zkwire
from zkwire import AddWatchMode, CreateMode, errors, operations, records
from zkwire.jute import Record

SOURCE = Path(zkwire.__file__ or "")


def declared(module: ModuleType, base: type) -> list[str]:
    """The names of all classes of this kind that the module declares itself."""
    return sorted(
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    )


#: What a star import under TYPE_CHECKING stands for.
STARRED = {
    "errors": [*declared(errors, BaseException), "error_from_code"],
    "records": [*declared(records, Record), "CREATOR_ALL_ACL", "OPEN_ACL_UNSAFE", "READ_ACL_UNSAFE"],
}


def names_for_type_checkers() -> set[tuple[str, str]]:
    """(module, name) of the imports under TYPE_CHECKING."""
    found = set()
    for statement in ast.parse(SOURCE.read_text(encoding="utf-8")).body:
        if not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"):
            continue
        for node in statement.body:
            assert isinstance(node, ast.ImportFrom)
            for alias in node.names:
                if alias.name == "*":
                    assert node.module is not None
                    found |= {(node.module, name) for name in STARRED[node.module]}
                else:
                    assert alias.asname == alias.name, "only `X as X` exports a name to type checkers"
                    found.add((node.module or "", alias.name))
    return found


# --- the names


@pytest.mark.parametrize("name", zkwire.__all__)
def test_public_name_is_the_object_of_its_module(name: str) -> None:
    module = importlib.import_module(f"zkwire.{zkwire._MODULE_OF[name]}")
    assert getattr(zkwire, name) is getattr(module, name)


def test_type_checkers_see_the_names_that_are_there() -> None:
    assert names_for_type_checkers() == {(module, name) for name, module in zkwire._MODULE_OF.items()}


def test_no_name_is_listed_twice() -> None:
    listed = [name for names in zkwire._PUBLIC.values() for name in names.split()]
    assert len(listed) == len(set(listed))
    assert zkwire.__all__ == sorted(listed)


def test_star_import_binds_every_public_name() -> None:
    code = "import zkwire\nfrom zkwire import *\nprint(sorted(set(zkwire.__all__) - set(globals())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'zkwire' has no attribute 'Zookeeper'"):
        zkwire.Zookeeper  # noqa: B018


def test_dir_lists_public_names_before_they_are_loaded() -> None:
    code = "import zkwire; print(set(zkwire.__all__) <= set(dir(zkwire)), 'Client' in vars(zkwire))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
    assert {*zkwire.__all__, "__version__"} <= set(dir(zkwire))


def test_a_public_name_is_found_once_and_then_kept() -> None:
    code = "import zkwire; zkwire.Stat; print('Stat' in vars(zkwire), 'connect' in vars(zkwire))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_every_exception_class_is_public() -> None:
    assert sorted(zkwire._PUBLIC["errors"].split()) == STARRED["errors"]


def test_every_record_is_public() -> None:
    assert set(zkwire._PUBLIC["records"].split()) == set(STARRED["records"])


def test_every_operation_is_public_by_its_constant_and_by_zookeepers_name() -> None:
    rows = {name: value for name, value in vars(operations).items() if isinstance(value, zkwire.Operation)}
    assert {name: getattr(zkwire, name) for name in rows} == rows
    assert {row.name: row for row in rows.values()} == zkwire.OPERATIONS


def test_a_request_and_its_reply_are_records_with_public_names() -> None:
    kinds = {kind for row in zkwire.OPERATIONS.values() for kind in (row.request, row.response) if kind is not None}
    assert {kind.__name__ for kind in kinds} <= set(zkwire.__all__)


@pytest.mark.parametrize("kind", [zkwire.Session, zkwire.Connection])
def test_every_event_of_next_event_is_public_and_documented(kind: type) -> None:
    returned = get_type_hints(vars(kind)["next_event"])["return"]
    events = [event for event in get_args(returned) if event is not type(None)]
    assert len(events) >= 6
    for event in events:
        assert getattr(zkwire, event.__name__) is event
        assert inspect.getdoc(event) != inspect.getdoc(tuple), event


def test_version_is_that_of_the_package() -> None:
    text = SOURCE.parent.parent.joinpath("pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{zkwire.__version__}"\n' in text


def test_package_says_that_it_is_typed() -> None:
    assert SOURCE.with_name("py.typed").exists()


# --- the contract of DESIGN section 3

#: Parameters in order; those behind "*" by name only. Defaults are compared where a value is given.
CONTRACT: dict[str, list[str]] = {
    "create": ["path", "data=b''", "*", "mode=PERSISTENT", "acl=OPEN_ACL_UNSAFE", "ttl=None"],
    "create2": ["path", "data=b''", "*", "mode=PERSISTENT", "acl=OPEN_ACL_UNSAFE", "ttl=None"],
    "get_data": ["path"],
    "set_data": ["path", "data", "version=-1"],
    "exists": ["path"],
    "get_children": ["path"],
    "get_children2": ["path"],
    "get_data_and_watch": ["path"],
    "exists_and_watch": ["path"],
    "get_children_and_watch": ["path"],
    "add_watch": ["path", "mode"],
    "multi": ["operations"],
    "multi_read": ["operations"],
    "delete": ["path", "version=-1"],
    "sync": ["path='/'"],
    "get_acl": ["path"],
    "set_acl": ["path", "acl", "version=-1"],
    "add_auth": ["scheme", "auth"],
    "who_am_i": [],
    "get_ephemerals": ["prefix='/'"],
    "get_all_children_number": ["path"],
    "get_config": [],
    "reconfig": ["joining=None", "leaving=None", "new_members=None", "from_config=-1"],
    "ensure_path": ["path", "acl=OPEN_ACL_UNSAFE"],
    "states": [],
}

CONNECT = [
    *["hosts", "session_timeout=10.0", "*", "session=None", "read_only=False", "ssl_context=None", "auth=()"],
    *["sasl=None", "on_frame=None", "new_session=True", "connect_timeout=None", "max_frame=1048575"],
    *["max_reply=67108864", "dial=None"],
]

ITEMS = {
    "Create": ["path", "data=b''", "mode=PERSISTENT", "acl=OPEN_ACL_UNSAFE", "ttl=None", "with_stat=False"],
    "SetData": ["path", "data", "version=-1"],
    "Delete": ["path", "version=-1"],
    "Check": ["path", "version=-1"],
    "GetData": ["path"],
    "GetChildren": ["path"],
    "WatchedEvent": ["type", "state", "path", "zxid=-1"],
    "SessionInfo": ["id", "password"],
}


def parameters(function: Callable[..., Any]) -> list[str]:
    """As in CONTRACT."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in found:
            found.append("*")
        default = parameter.default
        if default is parameter.empty:
            found.append(parameter.name)
        elif default is zkwire.OPEN_ACL_UNSAFE:
            found.append(f"{parameter.name}=OPEN_ACL_UNSAFE")
        else:
            found.append(f"{parameter.name}={default.name if isinstance(default, CreateMode) else repr(default)}")
    return found


@pytest.mark.parametrize("name", CONTRACT)
def test_client_method_takes_the_parameters_of_the_contract(name: str) -> None:
    assert parameters(getattr(zkwire.Client, name)) == CONTRACT[name]


def test_connect_takes_the_parameters_of_the_contract() -> None:
    assert parameters(zkwire.connect) == CONNECT
    assert inspect.signature(zkwire.connect).return_annotation == "Client"


@pytest.mark.parametrize("name", ITEMS)
def test_public_value_takes_the_parameters_of_the_contract(name: str) -> None:
    assert parameters(getattr(zkwire, name)) == ITEMS[name]


@pytest.mark.parametrize("name", ["state", "session_id", "session_timeout", "last_zxid", "session"])
def test_client_has_the_property_of_the_contract(name: str) -> None:
    assert isinstance(getattr(zkwire.Client, name), property)


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (zkwire.Client, ["__aenter__", "__aexit__"]),
        (zkwire.WatchStream, ["__aenter__", "__aexit__", "__aiter__", "__anext__", "aclose"]),
        (zkwire.Watch, ["__aenter__", "__aexit__", "wait"]),
        (zkwire.StateStream, ["__aiter__", "__anext__", "aclose"]),
    ],
)
def test_handle_is_used_as_the_contract_shows(cls: type, names: list[str]) -> None:
    assert [name for name in names if not callable(getattr(cls, name, None))] == []


def test_the_modes_of_the_contract_are_there() -> None:
    assert {"PERSISTENT_RECURSIVE"} <= set(AddWatchMode.__members__)
    assert {"EPHEMERAL_SEQUENTIAL", "PERSISTENT_WITH_TTL"} <= set(CreateMode.__members__)
    assert "RESYNC" in zkwire.EventType.__members__


def test_the_bound_client_has_the_same_operations() -> None:
    unlike = [
        name
        for name in CONTRACT
        if name not in ("add_auth", "states")
        and parameters(getattr(zkwire.BoundClient, name)) != parameters(getattr(zkwire.Client, name))
    ]
    assert unlike == []
