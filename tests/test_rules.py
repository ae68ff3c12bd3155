"""Each rule of docs/client-rules.md is shown by a test that names it, `@pytest.mark.rule(23)`; each of
docs/election-rules.md too, `@pytest.mark.rule("C4")`."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "client-rules.md"

#: Rule 32, the protected create, is a recipe's: it names its znode by a GUID, which no operation of the protocol does.
RULES = [number for number in range(1, 83) if number != 32]


def shown_rules() -> dict[int, list[str]]:
    """Rule numbers, and the tests that name them."""
    found: dict[int, list[str]] = defaultdict(list)
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
                        for argument in decorator.args:
                            assert isinstance(argument, ast.Constant), f"{file.name}: {ast.unparse(decorator)}"
                            if isinstance(argument.value, int):
                                found[argument.value].append(f"{file.name}: {node.name}")
    return found


def test_every_rule_is_shown_by_a_test_that_names_it() -> None:
    shown = shown_rules()
    assert [number for number in RULES if number not in shown] == []
    assert [number for number in shown if number not in RULES] == []


def test_page_has_the_rules_that_tests_name() -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", PAGE.read_text(), re.MULTILINE)]
    assert numbers == list(range(1, 83))
    assert set(RULES) < set(numbers)
