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


@pytest.mark.parametrize("name", re.findall(r"\]\((?!https?:)([^)]+)\)", README))
def test_file_named_in_the_readme_exists(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("frames", "frame"),
        ("session.connection", "Connection._emit_request"),
        ("session.connection", "Connection.handle_timeout"),
        ("session.session", "Session.tcp_connected"),
        ("session.session", "Session._take_connected"),
        ("session.login", "Login._run_mechanism"),
        ("session.session", "Session._finish_login"),
        ("session.session", "Session.close"),
        ("session.arming", "Arming._remove_unused"),
        ("session.watches", "Watches.set_watches"),
        ("session.watches", "Watches.removals"),
        ("client.dialing", "Dialing._is_read_write"),
    ],
)
def test_place_named_in_the_readme_exists(module: str, name: str) -> None:
    target = __import__(f"zkwire.{module}", fromlist=["_"])
    for part in name.split("."):
        target = getattr(target, part)
    assert name.rpartition(".")[2] in README


def test_numbers_of_the_readme_are_those_of_the_code() -> None:
    text = " ".join(README.split())
    assert f"one of the {len(CLIENT_RULES)} in [docs/client-rules.md]" in text
    assert f"the {len(ELECTION_RULES)} rules that are kept" in text
    assert f"# {WINDOW} requests on their way at once" in text
    versions = sorted({shown.version for shown in load()})
    assert f"Frames of real servers, {' and '.join(versions)}, for every operation" in text


def test_what_the_readme_says_of_the_cost_of_a_tap_was_measured() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text().partition("### tap\n")[2]
    added = {
        row[0]: int(row[1]) for row in re.findall(r"^\| (tap[ a-z-]*?) +\|.*\| +(\d+) \|$", measured, re.MULTILINE)
    }
    said = re.search(r"median latency is less than ([\d.]+) ms, with `--fault` ([\d.]+) ms", " ".join(README.split()))
    assert said is not None
    assert max(us for name, us in added.items() if name != "tap --fault") < float(said[1]) * 1000
    assert f"{added['tap --fault'] / 1000:.1g}" == said[2]


def test_targets_named_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README))
    assert named <= targets
    assert {"test", "demo"} <= named
