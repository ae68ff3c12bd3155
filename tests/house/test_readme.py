"""What the README says is so: it names what exists, and its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.golden import load
from tests.support.rules import CLIENT_RULES, ELECTION_RULES
from zkwire.cli.tree import WINDOW

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TOOLS = (ROOT / "docs" / "tools.md").read_text()


@pytest.mark.parametrize("name", re.findall(r"\]\((?!https?:)([^)]+)\)", README))
def test_file_named_in_the_readme_exists(name: str) -> None:
    assert (ROOT / name).exists()


def test_program_over_a_socket_is_that_of_the_examples() -> None:
    programs = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    assert programs[1] in (ROOT / "examples" / "bare_socket.py").read_text()


def test_tools_of_the_readme_are_shown_with_their_output_in_the_page_about_them() -> None:
    named = set(re.findall(r"^zkwire (\w+)", README.partition("## See it")[2].partition("\n## ")[0], re.MULTILINE))
    assert named == {"explain", "read", "tap", "replay"}
    assert named <= set(re.findall(r"^## (\w+):", TOOLS, re.MULTILINE))


def test_numbers_of_the_readme_are_those_of_the_code() -> None:
    text = " ".join(README.split())
    assert f"the {len(CLIENT_RULES)} rules of a client and the {len(ELECTION_RULES)} of an election" in text
    assert f"# {WINDOW} requests on their way at once" in text
    versions = sorted({shown.version for shown in load()})
    assert f"frames of real servers, {' and '.join(versions)}, for every operation" in text


def test_cost_of_a_tap_in_the_page_about_tools_was_measured() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text().partition("### tap\n")[2]
    added = {
        row[0]: int(row[1]) for row in re.findall(r"^\| (tap[ a-z-]*?) +\|.*\| +(\d+) \|$", measured, re.MULTILINE)
    }
    said = re.search(
        r"median latency grows by less than ([\d.]+) ms, with `--fault` by ([\d.]+) ms", " ".join(TOOLS.split())
    )
    assert said is not None
    assert max(us for name, us in added.items() if name != "tap --fault") < float(said[1]) * 1000
    assert f"{added['tap --fault'] / 1000:.1g}" == said[2]


def test_targets_named_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README))
    assert named <= targets
    assert {"test", "demo"} <= named
