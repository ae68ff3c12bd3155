"""docs/embedding.md: its programs run, its names exist, and its figures are those that were measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import zkwire

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("program", re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL))
def test_program_of_the_page_runs_without_trio_and_construct(program: str) -> None:
    look = "import sys; print([name for name in ('trio', 'construct') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", f"{program}\n{look}"], capture_output=True, text=True, check=False)
    assert (shown.stdout, shown.stderr) == ("[]\n", "")


def test_the_core_needs_neither_trio_nor_construct_to_be_installed() -> None:
    shell = ("cli", "client", "tap", "explain")  # explain: dumps are made by construct
    names = [name for name in zkwire.__all__ if zkwire._MODULE_OF[name].split(".")[0] not in shell]
    assert {"Session", "Connection", "ServerSearch", "parse_hosts", "OPERATIONS", "Stat"} <= set(names)
    blocked = "import sys; sys.modules['trio'] = sys.modules['construct'] = None"
    code = f"{blocked}\nimport zkwire, zkwire.session\nfor name in {names!r}: getattr(zkwire, name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_methods_and_events_of_the_page_are_those_of_the_code() -> None:
    described = set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE))
    methods = {name for name in described if name.islower()}
    events = described - methods
    session = {name for name in methods if hasattr(zkwire.Session, name)}
    assert methods - session == {name for name in methods if hasattr(zkwire.ServerSearch, name)} - session
    taken = {"receive_data", "tcp_connected", "tcp_lost", "handle_timeout", "request", "cancel", "add_auth", "disarm"}
    assert taken | {"close", "detach"} <= session
    returned = get_args(get_type_hints(zkwire.Session.next_event)["return"])
    assert events == {event.__name__ for event in returned} - {"NeedData"}
    for text in re.findall(r"^\| `(\w+\([^)]*\))` \|", PAGE, re.MULTILINE):
        name, _, fields = text[:-1].partition("(")
        if name in events:
            assert tuple(fields.split(", ")) == getattr(zkwire, name)._fields


def test_figures_of_the_page_were_measured() -> None:
    measured = (
        (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").partition("\nimport in a fresh process\n")[2]
    )
    measured = measured.partition("### ")[0]
    rows = {
        name.strip(): figures
        for name, *figures in re.findall(r"^\| (.+?) \| +([\d.]+) \| +([\d.]+) \|", measured, re.M)
    }
    said = dict(re.findall(r"^\| (.+?) \| (?:[\d.]+ ms)? ?\| ([\d.]+) MB \|$", PAGE, re.MULTILINE))
    times = dict(re.findall(r"^\| (.+?) \| ([\d.]+) ms \|", PAGE, re.MULTILINE))
    for row, name in {
        "nothing": "Python alone",
        "zkwire's core": "the core, `import zkwire.session`",
        "zkwire": "the client on trio, `zkwire.connect`",
    }.items():
        assert said[name] == rows[row][1]
        assert times.get(name, "0.0") == rows[row][0]


@pytest.mark.parametrize("name", re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE))
def test_file_named_in_the_page_exists(name: str) -> None:
    assert (ROOT / "docs" / name).exists()
