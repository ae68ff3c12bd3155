"""Who imports whom in election/: strictly downwards, on zkwire's public names and trio alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zkwire

PACKAGE = Path(__file__).parents[2] / "election"

#: Bottom to top, as in election/__init__.py.
ORDER = [
    *(
        "errors",
        "clocks",
        "ephemeral",
        "leader.sequence",
        "leader.dialects",
        "leader.paths",
        "leader.lease",
        "leader.witness",
        "leader.overrun",
        "leader.states",
    ),
    *("leader.campaign", "leader.queue", "leader.single", "leader.term", "leader.observer", "leader.election"),
    *("registry.picking", "registry.layouts", "registry.registration", "registry.view", "registry.registry"),
    *("command.watchdog", "command.runner", "command.local_server", "command.demo", "command.verbs"),
]
#: What computes, and neither waits nor looks at anything.
PURE = [
    "errors",
    "leader.sequence",
    "leader.dialects",
    "leader.paths",
    "leader.lease",
    "leader.witness",
    "registry.picking",
    "registry.layouts",
]


def imports(module: str) -> list[tuple[str, list[str]]]:
    """(module, names) of each import statement; ours with a dot in front, as in ORDER."""
    package = module.split(".")[:-1]
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if not node.level:
                found.append((node.module or "", names))
                continue
            base = [*package[: len(package) - node.level + 1], *([node.module] if node.module else [])]
            for name in names:
                inside = ".".join([*base, name])
                found.append((f".{inside}" if inside in ORDER else f".{'.'.join(base)}", []))
    return found


def test_every_module_has_its_place() -> None:
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    assert sorted(".".join(path.parts) for path in paths if not path.stem.startswith("__")) == sorted(ORDER)


def test_package_documents_its_modules_in_this_order() -> None:
    documented = (PACKAGE / "__init__.py").read_text(encoding="utf-8").split('"""')[1]
    rooms = [f"{module.partition('.')[0]}/" if "." in module else module for module in ORDER]
    assert [line.split()[0] for line in documented.split("\n") if line.startswith("    ")] == list(dict.fromkeys(rooms))


@pytest.mark.parametrize("module", ORDER)
def test_module_imports_what_is_below_it(module: str) -> None:
    ours = {name[1:] for name, _ in imports(module) if name.startswith(".")}
    assert {name for name in ours if ORDER.index(name) >= ORDER.index(module)} == set()


@pytest.mark.parametrize("module", ORDER)
def test_module_uses_public_names_of_zkwire_and_no_other_package_but_trio(module: str) -> None:
    for name, names in imports(module):
        top = name.split(".")[0]
        if top == "zkwire":
            assert name == "zkwire", f"{module} imports {name}"
            assert set(names) <= set(zkwire.__all__)
        elif top:
            assert top in sys.stdlib_module_names | {"trio", "exceptiongroup"}, f"{module} imports {name}"


@pytest.mark.parametrize("module", PURE)
def test_pure_module_imports_no_trio_and_no_clock(module: str) -> None:
    assert {name for name, _ in imports(module)} & {"trio", "time", "socket", "threading"} == set()


def test_watchdog_is_a_script_that_loads_next_to_nothing() -> None:
    """It is started in the moment of a takeover, without site-packages (python -I -S)."""
    program = f"""
import runpy, sys
before = set(sys.modules)
runpy.run_path({str(PACKAGE / "command" / "watchdog.py")!r}, run_name="loaded")
print(*set(sys.modules) - before)
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert {name.split(".")[0] for name in loaded} & {"trio", "zkwire", "construct", "asyncio", "socket"} == set()
