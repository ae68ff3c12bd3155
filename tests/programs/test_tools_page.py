"""docs/tools.md: its commands, run in their order, print what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import External
from tests.support.processes import free_port
from tests.support.real.servers import Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
#: Blocks of commands with their output, in order.
BLOCKS = re.findall(r"^```\n(\$ .+?)^```", PAGE, re.DOTALL | re.MULTILINE)
#: What differs from one run to the next.
VARYING = [
    (r"\d\d:\d\d:\d\d\.\d{6}", "TIME"),
    (r" +\d+\.\d+ ms", " MS"),
    (r"0x[0-9a-f]+", "HEX"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r" +(\d+ bytes)$", r" \1"),  # aligned to the right
    (r"closed by the (client|server)", "closed"),  # after closeSession both close the connection
    (r"^([0-9a-f]{4}) .* (\S*\.(?:[cmp]?zxid|[cm]time)) .*$", r"\1 \2"),
]


def masked(text: str) -> str:
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


def test_commands_of_the_page_print_what_the_page_shows(zookeeper: Server | External, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ZKWIRE_HOSTS": zookeeper.address}
    tap = str(free_port())

    def run(script: str) -> str:
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert "rror" not in done.stderr, done.stderr
        return done.stdout

    assert shutil.which("tshark"), "this test needs tshark: `make tools` installs it"
    try:
        for block in BLOCKS:
            commands = re.findall(r"^\$ (.+)$", block, re.MULTILINE)
            expected = re.sub(r"^\$ .+\n", "", block, flags=re.MULTILINE)
            script = "\n".join(commands).replace("127.0.0.1:2181", zookeeper.address)
            script = script.replace("2182 2181", f"{tap} {zookeeper.address}").replace("2182", tap)
            # A reader takes longer to type that than the tap to see the end of the connection.
            script = script.replace("kill $!", "until grep -q closed.by tap.txt; do sleep 0.02; done; kill $!")
            assert masked(run(script)) == masked(expected), block
    finally:
        run("zkwire rm -r /fruit")


def test_the_page_shows_each_of_the_seven_tools() -> None:
    shown = set(re.findall(r"\bzkwire (\w+)", "\n".join(BLOCKS)))
    assert {"explain", "describe", "read", "tap", "replay", "export", "send"} <= shown
    assert set(re.findall(r"^\| .+ \| .+ \| \[(\w+)", PAGE, re.MULTILINE)) <= shown


def test_links_of_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in headings, target
        else:
            assert (ROOT / "docs" / target).exists(), target
