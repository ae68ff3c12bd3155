"""Who imports whom: strictly downwards, trio from the transport upwards only, and no clock or socket in the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[2] / "zkwire"

#: Bottom to top, as in zkwire/__init__.py. A module imports from lower rows only, or from one further left in its own.
LAYERS: list[list[str]] = [
    ["jute.errors", "jute.types", "jute.fused", "jute.record", "jute.wire", "jute"],
    ["codes", "paths", "hosts", "session.servers"],
    ["records", "frames", "errors"],
    ["multi"],
    ["operations", "session.events"],
    [
        "session.connection",
        "traffic.conversation",
        "session.watches",
        "explain.plain",
        "explain.dump",
        "explain.sentences",
        "explain.explained",
        "explain.examples",
        "explain.describe",
    ],
    [
        "traffic.selection",
        "traffic.faults",
        "traffic.recording",
        "traffic.causes",
        "traffic.entries",
        "traffic.report",
        "traffic.as_server",
        "traffic.as_client",
    ],
    ["capture.pcap", "capture.packet", "capture.stream", "capture.resync", "capture.reader", "capture"],
    ["session.sasl", "session.session"],
    [
        "client.nursery",
        "client.transport",
        "client.call",
        "client.handles",
        "client.verbs",
        "client.bound",
        "client.client",
        "client.program",
    ],
    ["tap.tap"],
    [
        "cli.program",
        "cli.common",
        "cli.dumps",
        "cli.input",
        "cli.explain",
        "cli.describe",
        "cli.live",
        "cli.addresses",
        "cli.tap",
        "cli.replay",
        "cli.read",
        "cli.export",
        "cli.raw",
        "cli.send",
        "cli.tree",
        "cli.znodes",
        "cli",
    ],
]
#: Packages that have no code of their own.
ROOMS = {"session", "client", "explain", "traffic", "tap", "wireshark"}
ORDER = [module for layer in LAYERS for module in layer]
SHELL = ORDER[ORDER.index("client.nursery") :]
CORE = ORDER[: ORDER.index("client.nursery")]

#: What no module of the core may import: input and output, clocks, chance, and other people's event loops.
NOT_IN_CORE = {"trio", "time", "socket", "ssl", "random", "threading", "asyncio", "logging", "datetime", "select", "os"}

#: Upward imports, and why each does no harm. These are for type checkers, and never run.
EXEMPT = {
    ("jute.types", "jute.record"): "NestedType holds a Record class, and Record is declared with types",
    ("client.bound", "client.client"): "a BoundClient is made by a Client",
    ("jute.fused", "jute.record"): "a codec is made of the fields of a Record class, in the moment that class is made",
}
#: Upward imports that do run, inside functions.
LATE = {
    ("jute.record", "jute.wire"): "Record.WIRE and explanations: construct takes 20 ms to load, and few need it",
}


class Import(NamedTuple):
    importer: str
    imported: str  # as in ORDER where it is ours, else the top-level name
    ours: bool
    for_typing: bool  # under `if TYPE_CHECKING`
    late: bool  # in a function


def modules() -> dict[str, Path]:
    """Every module of zkwire by its name below the package; a package by its own."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path) -> Iterator[Import]:
    """Every import statement of a module, wherever it stands."""
    package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
    package = [part for part in package if part]

    def visit(node: ast.AST, for_typing: bool, late: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for guarded in node.body:
                yield from visit(guarded, True, late)
            for other in node.orelse:
                yield from visit(other, for_typing, late)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                yield Import(module, rest if top == "zkwire" else top, top == "zkwire", for_typing, late)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            else:
                base = (node.module or "").split(".")
                if base[0] != "zkwire":
                    yield Import(module, base[0], False, for_typing, late)
                    return
                base = base[1:]
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                if whole == "__version__":  # the one thing that the package has of its own
                    continue
                yield Import(module, whole if whole in modules() else ".".join(base), True, for_typing, late)
        late = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, for_typing, late)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False, False)


FOUND = [found for module, path in modules().items() if module for found in imports(module, path)]


def narrows(test: ast.expr) -> bool:
    """Whether an asserted expression only tells type checkers what is known: `x is not None`, `isinstance(x, T)`."""
    if isinstance(test, ast.Call):
        return isinstance(test.func, ast.Name) and test.func.id == "isinstance"
    return isinstance(test, ast.Compare) and [type(each) for each in test.ops] == [ast.IsNot]


def test_no_assert_guards_against_anything() -> None:
    """`python -O` strips asserts, so protection against bad input or wrong use must be a raise."""
    guards = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno}: {ast.unparse(node)}"
        for package in (PACKAGE, PACKAGE.parent / "election")
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert) and not narrows(node.test)
    ]
    assert guards == []


def test_every_module_has_its_layer() -> None:
    assert sorted(set(modules()) - {"", "__main__", *ROOMS}) == sorted(ORDER)


def test_the_layers_are_those_that_the_package_documents() -> None:
    documented = (PACKAGE / "__init__.py").read_text(encoding="utf-8").split('"""')[1]
    listed = [
        name.strip(" ,/")
        for line in documented.split("\n")
        if line.startswith("    ") and not line.strip().startswith("---")
        for name in line[4:18].split(",")
    ]
    assert sorted(listed) == sorted({module.partition(".")[0] for module in ORDER} | ROOMS)
    above, below = documented.split("-------------", 1)
    assert "session/" in above
    assert "client/" in below


@pytest.mark.parametrize("module", ORDER)
def test_module_imports_only_from_lower_layers(module: str) -> None:
    upward = {
        (found.importer, found.imported)
        for found in FOUND
        if found.importer == module
        and found.ours
        and not (found.for_typing and (module, found.imported) in EXEMPT)
        and not (found.late and (module, found.imported) in LATE)
        and not is_below(found.imported, module)
    }
    assert upward == set()


def is_below(lower: str, upper: str) -> bool:
    return lower in ORDER and ORDER.index(lower) < ORDER.index(upper)


def test_every_exemption_is_needed() -> None:
    typing = {(found.importer, found.imported) for found in FOUND if found.for_typing}
    late = {(found.importer, found.imported) for found in FOUND if found.late and not found.for_typing}
    assert set(EXEMPT) <= typing
    assert set(LATE) <= late


def test_only_modules_from_transport_upward_import_trio() -> None:
    assert {found.importer for found in FOUND if found.imported.startswith("trio")} <= set(SHELL)


@pytest.mark.parametrize("module", CORE)
def test_core_module_imports_no_clock_no_input_and_no_chance(module: str) -> None:
    imported = {found.imported for found in FOUND if found.importer == module and not found.ours}
    # sasl takes its nonce from secrets where the caller gives none: a session holds one mechanism for all its
    # exchanges, and RFC 2831 wants a new nonce in each.
    assert imported & (NOT_IN_CORE | ({"secrets"} if module != "session.sasl" else set())) == set()


def test_jute_knows_nothing_of_zookeeper() -> None:
    assert {
        found.imported.partition(".")[0] for found in FOUND if found.importer.startswith("jute") and found.ours
    } <= {"jute"}


def test_zkwire_never_imports_election() -> None:
    assert "election" not in {found.imported for found in FOUND}


def test_the_runtime_dependencies_are_trio_and_construct() -> None:
    others = {found.imported for found in FOUND if not found.ours and not found.for_typing} - sys.stdlib_module_names
    # exceptiongroup is what trio itself depends on where Python has no exception groups.
    assert others == {"trio", "construct", "exceptiongroup"}


#: The dumps are construct's work; who imports these wants it.
WITH_CONSTRUCT = {
    "jute.wire",
    "traffic.report",
    "traffic.as_server",
    "traffic.as_client",
    "explain.dump",
    "explain.explained",
}

LOAD_ALONE = """
import importlib, sys
before = set(sys.modules)
importlib.import_module("zkwire.{module}")
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


@pytest.mark.parametrize("module", CORE)
def test_core_module_loads_neither_trio_nor_ssl_nor_construct(module: str) -> None:
    command = [sys.executable, "-c", LOAD_ALONE.format(module=module)]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent).stdout.split())
    assert "zkwire" in loaded
    heavy = {"trio", "ssl", "asyncio", "socket", "election"}
    assert loaded & (heavy if module in WITH_CONSTRUCT else heavy | {"construct"}) == set()


#: What a verb of the command line must not load, since it needs none of it.
_SHELL = {"trio", "ssl", "asyncio", "socket"}
LEFT_OUT = {"ls": {"construct"}, "explain": _SHELL, "describe": _SHELL}


@pytest.mark.parametrize(("verb", "left_out"), LEFT_OUT.items(), ids=LEFT_OUT)
def test_verb_of_the_command_line_loads_only_what_it_needs(verb: str, left_out: set[str]) -> None:
    code = f"import sys, zkwire.cli; zkwire.cli.parser(['{verb}']); print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent).stdout.split())
    assert "zkwire.cli.common" in loaded
    assert loaded & left_out == set()


def test_the_package_alone_loads_no_module_of_its_own() -> None:
    code = "import sys, zkwire; print(*sorted(name for name in sys.modules if name.startswith('zkwire.')))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent).stdout == "\n"
