"""`print_frame` in a program whose stderr is full or closed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("stderr", ["full", "closed"])
def test_print_frame_never_ends_a_program(stderr: str) -> None:
    program = """
import sys, trio, zkwire
from tests.support.fake.memory import MemoryServers

async def main():
    async with zkwire.connect("10.0.0.1", dial=MemoryServers().dial, on_frame=zkwire.print_frame) as zk:
        print((await zk.get_data("/a"))[0])

trio.run(main)
"""
    redirection = "2>/dev/full" if stderr == "full" else "2>&-"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {redirection}', sys.executable, program], stdout=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stdout) == (0, "b'/a'\n")
