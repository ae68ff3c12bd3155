"""Each rule of docs/client-rules.md is shown by a test that names it, `@pytest.mark.rule(23)`; each of
docs/election-rules.md too, `@pytest.mark.rule("C4")`."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from tests.support.rules import CLIENT_RULES, ELECTION_RULES

DOCS = Path(__file__).parents[2] / "docs"


def shown_rules() -> dict[int | str, list[str]]:
    """Rules, and the tests that name them."""
    found: dict[int | str, list[str]] = defaultdict(list)
    for file in sorted(Path(__file__).parents[1].rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
                        for argument in decorator.args:
                            assert isinstance(argument, ast.Constant), f"{file.name}: {ast.unparse(decorator)}"
                            assert isinstance(argument.value, (int, str)), f"{file.name}: {ast.unparse(decorator)}"
                            found[argument.value].append(f"{file.name}: {node.name}")
    return found


def test_every_rule_is_shown_by_a_test_that_names_it() -> None:
    shown = shown_rules()
    assert [rule for rule in [*CLIENT_RULES, *ELECTION_RULES] if rule not in shown] == []
    assert [rule for rule in shown if rule not in [*CLIENT_RULES, *ELECTION_RULES]] == []


def test_page_has_the_client_rules_that_tests_name() -> None:
    text = (DOCS / "client-rules.md").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)] == CLIENT_RULES


def test_page_has_the_election_rules_that_tests_name() -> None:
    text = (DOCS / "election-rules.md").read_text(encoding="utf-8")
    assert re.findall(r"^- \*\*([A-Z]\d+)\*\* ", text, re.MULTILINE) == ELECTION_RULES
    assert text.splitlines()[2].startswith(f"{len(ELECTION_RULES)} rules.")
