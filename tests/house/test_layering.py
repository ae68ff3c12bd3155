"""Which folder may import which: down only; trio in the shell only; no clock and no socket in the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import zkwire

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "zkwire"

#: What the files of each folder may import besides their own folder, bottom to top. "" is the files beside the folders:
#: in zkwire the wire itself, in election its ground.
ROOMS: dict[str, dict[str, set[str]]] = {
    "zkwire": {
        "jute": set(),
        "": {"jute"},
        "session": {"", "jute"},
        "explain": {"", "jute"},
        "traffic": {"", "jute", "explain"},
        "capture": {"", "jute", "traffic"},
        "client": {"", "jute", "session"},
        "tap": {"", "jute", "traffic", "client"},
        "wireshark": {"", "jute", "explain"},
        "cli": {"", "jute", "session", "explain", "traffic", "capture", "client", "tap", "wireshark"},
    },
    "election": {
        "": set(),
        "leader": {""},
        "registry": {""},
        "command": {"", "leader", "registry"},
    },
}

#: Folders that know no clock, no input or output, no chance, and nobody's event loop.
SANS_IO = ["jute", "", "session", "explain", "traffic", "capture"]
NOT_IN_CORE = {"trio", "time", "socket", "ssl", "random", "threading", "asyncio", "logging", "datetime", "select", "os"}

#: The files of election/ that compute, and neither wait nor look at anything.
PURE = ["errors", "leader.sequence", "leader.dialects", "leader.paths", "leader.lease", "leader.witness"]
PURE += ["registry.picking", "registry.layouts", "registry.layouts.curator", "registry.layouts.serverset"]
PURE += ["registry.layouts.payload"]

#: Imports that close a circle of files, and why each does no harm. They are for type checkers, or inside a function.
EXEMPT = {
    ("jute.types", "jute.record"): "NestedType holds a Record class, and Record is declared with types",
    ("jute.fused", "jute.record"): "a codec is made of the fields of a Record class, in the moment that class is made",
    ("jute.record", "jute.wire"): "Record.WIRE and explanations: construct takes 20 ms to load, and few need it",
}


class Import(NamedTuple):
    package: str
    importer: str  # below the package: "client.call"
    imported: str  # the same where it is the package's own, else the module as it is written
    names: tuple[str, ...]
    ours: bool  # of the same package
    for_typing: bool  # under `if TYPE_CHECKING`


def modules(package: str) -> dict[str, Path]:
    """Every module by its name below the package; a folder's own code by the folder's name."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT / package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    del found[""], found["__main__"]
    return found


MODULES = {package: modules(package) for package in ROOMS}


def room(module: str, path: Path) -> str:
    """The folder that a module is in."""
    return module.partition(".")[0] if "." in module or path.stem == "__init__" else ""


def imports(package: str, module: str, path: Path) -> Iterator[Import]:
    """Every import statement of a module, wherever it is written."""
    here = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]

    def visit(node: ast.AST, for_typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for guarded in node.body:
                yield from visit(guarded, True)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(package, module, alias.name, (), False, for_typing)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = tuple(alias.name for alias in node.names)
            yield Import(package, module, node.module or "", names, False, for_typing)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                if whole != "__version__":  # the one thing that a package has of its own
                    yield Import(
                        package, module, whole if whole in MODULES[package] else ".".join(base), (), True, for_typing
                    )
        for child in ast.iter_child_nodes(node):
            yield from visit(child, for_typing)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False)


FOUND = [
    found
    for package, its in MODULES.items()
    for module, path in its.items()
    for found in imports(package, module, path)
]
CORE = [module for module, path in MODULES["zkwire"].items() if room(module, path) in SANS_IO]


@pytest.mark.parametrize("package", ROOMS)
def test_every_folder_is_one_of_the_rooms_and_is_documented(package: str) -> None:
    folders = {room(module, path) for module, path in MODULES[package].items()}
    assert folders == set(ROOMS[package])
    documented = (ROOT / package / "__init__.py").read_text(encoding="utf-8").split('"""')[1]
    assert [name for name in folders if name and f"    {name}/ " not in documented] == []


@pytest.mark.parametrize(
    ("package", "folder"), [(package, folder) for package, rooms in ROOMS.items() for folder in rooms]
)
def test_folder_imports_only_the_folders_below_it(package: str, folder: str) -> None:
    inside = MODULES[package]
    wrong = {
        (found.importer, found.imported)
        for found in FOUND
        if found.package == package and found.ours and room(found.importer, inside[found.importer]) == folder
        if room(found.imported, inside[found.imported]) not in {folder, *ROOMS[package][folder]}
    }
    assert wrong == set()


@pytest.mark.parametrize("package", ROOMS)
def test_no_circle_of_files_but_those_that_are_excused(package: str) -> None:
    edges: dict[str, set[str]] = {module: set() for module in MODULES[package]}
    for found in FOUND:
        if found.package == package and found.ours and (found.importer, found.imported) not in EXEMPT:
            edges[found.importer].add(found.imported)
    while leaves := [module for module, imported in edges.items() if not imported & edges.keys()]:
        for module in leaves:
            del edges[module]
    assert edges == {}, "each of these imports another of them"


def test_every_exemption_is_needed() -> None:
    assert set(EXEMPT) <= {(found.importer, found.imported) for found in FOUND}


@pytest.mark.parametrize("module", CORE)
def test_core_module_imports_no_clock_no_input_and_no_chance(module: str) -> None:
    imported = {
        found.imported.partition(".")[0]
        for found in FOUND
        if found.package == "zkwire" and found.importer == module and not found.ours
    }
    # sasl takes its nonce from secrets where the caller gives none: a session holds one mechanism for all its
    # exchanges, and RFC 2831 wants a new nonce in each.
    assert imported & (NOT_IN_CORE | ({"secrets"} if module != "session.sasl" else set())) == set()


@pytest.mark.parametrize("module", PURE)
def test_pure_module_of_election_imports_no_trio_and_no_clock(module: str) -> None:
    imported = {found.imported for found in FOUND if found.package == "election" and found.importer == module}
    assert imported & {"trio", "time", "socket", "threading"} == set()


def test_zkwire_never_imports_election() -> None:
    assert [found for found in FOUND if found.package == "zkwire" and found.imported.startswith("election")] == []


#: What the two command lines share, so that both end, complain and print in one way. It is not public.
SHARED_COMMAND_LINE = {"zkwire.cli.status", "zkwire.text"}


def test_election_uses_public_names_of_zkwire_alone_but_for_the_shared_command_line() -> None:
    used = [found for found in FOUND if found.package == "election" and found.imported.split(".")[0] == "zkwire"]
    private = [found for found in used if found.imported != "zkwire" or set(found.names) - set(zkwire.__all__)]
    assert [found for found in private if not found.importer.startswith("command.")] == []
    assert {found.imported for found in private} == SHARED_COMMAND_LINE


def test_the_runtime_dependencies_are_trio_and_construct() -> None:
    others = {found.imported.split(".")[0] for found in FOUND if not found.ours and not found.for_typing}
    # exceptiongroup is what trio itself depends on where Python has no exception groups.
    assert others - sys.stdlib_module_names == {"trio", "construct", "exceptiongroup", "zkwire"}


def narrows(test: ast.expr) -> bool:
    """Whether an asserted expression only tells type checkers what is known: `x is not None`, `isinstance(x, T)`."""
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    return isinstance(test, ast.Compare) and [type(each) for each in test.ops] == [ast.IsNot]


def test_no_assert_guards_against_anything() -> None:
    """`python -O` strips asserts, so protection against bad input or wrong use must be a raise."""
    guards = [
        f"{package}/{module}:{node.lineno}: {ast.unparse(node)}"
        for package, its in MODULES.items()
        for module, path in its.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert) and not narrows(node.test)
    ]
    assert guards == []


# --- what is loaded


def loaded_by(code: str, *options: str) -> set[str]:
    """The modules that a new interpreter has after these lines, beyond those that it starts with."""
    program = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    command = [sys.executable, *options, "-c", program]
    return set(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT).stdout.split())


#: These map each field of a frame, which is construct's work.
WITH_CONSTRUCT = {"jute.wire", "explain.dump", "explain.explained", "explain.readings"}
WITH_CONSTRUCT |= {"traffic.report", "traffic.as_server", "traffic.as_client"}


@pytest.mark.parametrize("module", CORE)
def test_core_module_loads_neither_trio_nor_ssl_nor_construct(module: str) -> None:
    loaded = {name.partition(".")[0] for name in loaded_by(f"import zkwire.{module}")}
    assert "zkwire" in loaded
    heavy = {"trio", "ssl", "asyncio", "socket", "election"}
    assert loaded & (heavy if module in WITH_CONSTRUCT else heavy | {"construct"}) == set()


#: What a verb of the command line must not load, since it needs none of it.
_SHELL = {"trio", "ssl", "asyncio", "socket"}
LEFT_OUT = {"ls": {"construct"}, "explain": _SHELL, "describe": _SHELL}


@pytest.mark.parametrize(("verb", "left_out"), LEFT_OUT.items(), ids=LEFT_OUT)
def test_verb_of_the_command_line_loads_only_what_it_needs(verb: str, left_out: set[str]) -> None:
    loaded = loaded_by(f"import zkwire.cli; zkwire.cli.parser(['{verb}'])")
    assert "zkwire.cli.common" in loaded
    assert loaded & left_out == set()


def test_the_package_alone_loads_no_module_of_its_own() -> None:
    assert {name for name in loaded_by("import zkwire") if name.startswith("zkwire.")} == set()


def test_watchdog_is_a_script_that_loads_next_to_nothing() -> None:
    """It is started in the moment of a takeover, without site-packages (python -I -S)."""
    script = ROOT / "election" / "command" / "watchdog.py"
    loaded = loaded_by(f"import runpy; runpy.run_path({str(script)!r}, run_name='loaded')", "-I", "-S")
    assert {name.split(".")[0] for name in loaded} & {"trio", "zkwire", "construct", "asyncio", "socket"} == set()
