"""Who imports whom in election/: strictly downwards, on zkwire's public names and trio alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zkwire

PACKAGE = Path(__file__).parent.parent / "election"

#: Bottom to top, as in election/__init__.py.
ORDER = [
    *("errors", "clocks", "sequence", "dialects", "places", "lease", "witness", "znodes", "overrun", "states"),
    *("contender", "sequential", "simple", "term", "observing", "election"),
    *("strategies", "layouts", "registration", "members", "registry"),
    *("watchdog", "runner", "local_server", "demo", "cli"),
]
#: What computes, and neither waits nor looks at anything.
PURE = ["errors", "sequence", "dialects", "places", "lease", "witness", "strategies", "layouts"]


def imports(module: str) -> list[tuple[str, list[str]]]:
    """(module, names) of each import statement; ours with a dot in front."""
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if node.level and node.module is None:
                found += [(f".{name}", []) for name in names]
            else:
                found.append(("." * node.level + (node.module or ""), names))
    return found


def test_every_module_has_its_place() -> None:
    assert sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")) == sorted(ORDER)


def test_package_documents_its_modules_in_this_order() -> None:
    documented = (PACKAGE / "__init__.py").read_text(encoding="utf-8").split('"""')[1]
    assert [line.split()[0] for line in documented.split("\n") if line.startswith("    ")] == ORDER


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
runpy.run_path({str(PACKAGE / "watchdog.py")!r}, run_name="loaded")
print(*set(sys.modules) - before)
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert {name.split(".")[0] for name in loaded} & {"trio", "zkwire", "construct", "asyncio", "socket"} == set()
