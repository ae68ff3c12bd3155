"""Each rule of docs/client-rules.md is shown by a test that names it, `@pytest.mark.rule(23)`; each of
docs/election-rules.md too, `@pytest.mark.rule("C4")`."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"

#: Rule 32, the protected create, is a recipe's: it names its znode by a GUID, which no operation of the protocol does.
#: Rules C4 to C7 of an election are what it says in full.
CLIENT_RULES = [number for number in range(1, 83) if number != 32]
#: How many there are by each letter.
ELECTION_RULES = {"C": 13, "W": 17, "L": 20, "R": 8, "S": 6, "P": 11, "D": 13}


def shown_rules() -> dict[int | str, list[str]]:
    """Rules, and the tests that name them."""
    found: dict[int | str, list[str]] = defaultdict(list)
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
                        for argument in decorator.args:
                            assert isinstance(argument, ast.Constant), f"{file.name}: {ast.unparse(decorator)}"
                            assert isinstance(argument.value, (int, str)), f"{file.name}: {ast.unparse(decorator)}"
                            found[argument.value].append(f"{file.name}: {node.name}")
    return found


def test_every_client_rule_is_shown_by_a_test_that_names_it() -> None:
    shown = {rule for rule in shown_rules() if isinstance(rule, int)}
    assert [rule for rule in CLIENT_RULES if rule not in shown] == []
    assert shown - {32} <= set(CLIENT_RULES)


def test_page_has_the_client_rules_that_tests_name() -> None:
    text = (DOCS / "client-rules.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, 83))
    assert set(CLIENT_RULES) < set(numbers)


def test_page_has_the_election_rules_that_tests_name() -> None:
    text = (DOCS / "election-rules.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \*\*([A-Z]\d+)\*\* ", text, re.MULTILINE)
    assert listed == [f"{letter}{number}" for letter, last in ELECTION_RULES.items() for number in range(1, last + 1)]
    assert text.splitlines()[2].startswith(f"{len(listed)} rules.")
    assert {rule for rule in shown_rules() if isinstance(rule, str)} <= set(listed)
