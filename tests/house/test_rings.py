"""Which folder of tests/ needs what: tests/README.md says it, and this holds it; and both pages name what exists."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.each import for_each

ROOT = Path(__file__).parents[2]
#: Fixtures of tests/conftest.py that start a ZooKeeper server, or look for one.
SERVERS = {"found", "distribution", "zookeeper", "shared_ensemble", "ensemble"}
PROCESSES = {"subprocess", "multiprocessing"}
WAITING = {"trio", "asyncio", "socket", "threading"}


def files(ring: str) -> list[Path]:
    return sorted((ROOT / "tests" / ring).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file names in its imports, those for type checkers left out."""

    def walk(nodes: list[ast.stmt]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None
                yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
            elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
                for field in ("body", "orelse", "handlers", "finalbody"):
                    yield from walk(getattr(node, field, []))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")).body)


def reached(path: Path) -> set[str]:
    """What a file imports, itself or by files of tests/."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        for name in set(imported(waiting.pop())) - found:
            found.add(name)
            module = ROOT.joinpath(*name.split("."))
            if name.startswith("tests.") and module.with_suffix(".py").exists():
                waiting.append(module.with_suffix(".py"))
    return found


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in reached(path)}


def parameters(path: Path) -> set[str]:
    """Of every function in a file: the fixtures that a test asks for are among them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    tests = [
        node for node in functions if node.name.startswith("test_") or "fixture" in ast.unparse(node).split("def")[0]
    ]
    return {argument.arg for node in tests for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}


@pytest.mark.parametrize("path", files("bytes"), ids=lambda path: str(path.relative_to(ROOT)))
def test_bytes_need_neither_a_wait_nor_a_process_nor_a_server(path: Path) -> None:
    assert packages(path) & (WAITING | PROCESSES) == set()
    assert parameters(path) & SERVERS == set()


@pytest.mark.parametrize("path", files("shell"), ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_needs_neither_a_process_nor_a_server(path: Path) -> None:
    assert packages(path) & PROCESSES == set()
    assert parameters(path) & SERVERS == set()


@pytest.mark.parametrize("path", files("house"), ids=lambda path: str(path.relative_to(ROOT)))
def test_house_needs_no_server(path: Path) -> None:
    assert parameters(path) & SERVERS == set()


def test_bytes_load_no_trio() -> None:
    """Nor does anything of zkwire that they use. Left out: trio's own plugin for hypothesis, and tests of election/,
    whose `__init__` loads all of it."""
    paths = [path for path in files("bytes") if path.parent.name not in ("leader", "registry")]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    program = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert "trio" not in sys.modules, name
"""
    command = [sys.executable, "-c", program, *modules]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "HYPOTHESIS_NO_PLUGINS": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("page", ["tests/README.md", "CONTRIBUTING.md"])
def test_page_for_contributors_names_what_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)}
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    targets = set(re.findall(r"^([a-z0-9.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z0-9.-]+)|`make ([a-z0-9.-]+)", text, re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


def test_each_value_that_fails_is_named() -> None:
    @for_each("number", range(5))
    def test(number: int) -> None:
        assert number % 2 == 0

    with pytest.raises(AssertionError, match="2 of 5 values of number fail: 1, 3; this is the first"):
        test()
