"""The examples are what a reader may copy: short, and made of public names alone."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "__init__")
#: The longest that an example may be, in lines; most are much shorter.
LONGEST = 165


def tree(name: str) -> ast.Module:
    return ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))


def public(package: str) -> set[str]:
    """The names that a program may use of zkwire or election."""
    module = importlib.import_module(package)
    if package == "zkwire":
        return {*module.__all__, "__version__"}
    return {name for name, value in vars(module).items() if not name.startswith("_") and not hasattr(value, "__path__")}


@pytest.mark.parametrize("name", PROGRAMS)
def test_example_uses_public_names_of_zkwire_and_election_alone(name: str) -> None:
    ours = {"zkwire": public("zkwire"), "election": public("election")}
    nodes = list(ast.walk(tree(name)))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names} & ours.keys()
    others = []
    for node in nodes:
        if isinstance(node, ast.Import):
            others += [alias.name for alias in node.names if alias.name.startswith(("zkwire.", "election."))]
        elif isinstance(node, ast.ImportFrom):
            package, _, deep = (node.module or "").partition(".")
            if package in ours:
                others += [f"{node.module}.{alias.name}" for alias in node.names if deep]
                others += [alias.name for alias in node.names if alias.name not in ours[package]]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            others += [f"{node.value.id}.{node.attr}"] if node.attr not in ours[node.value.id] else []
    assert others == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_example_says_first_what_it_does_and_how_to_start_it(name: str) -> None:
    text = ast.get_docstring(tree(name)) or ""
    assert f"    python -m examples.{name}" in text
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_guide_lists_every_example_and_nothing_else() -> None:
    guide = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \| [^[]", guide, re.MULTILINE)
    assert sorted(listed) == PROGRAMS
