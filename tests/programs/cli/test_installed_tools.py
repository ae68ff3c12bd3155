"""Dumps that the installed xxd, hexdump and od write: our models of them write the same, and zkwire reads them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dump_writers import TOOLS, Tool, random_bytes
from zkwire.explain.pasted import pasted_bytes


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_dumps_of_hexdump_are_read_back(data: bytes) -> None:
    hexdump = shutil.which("hexdump")
    assert hexdump, "hexdump, of Debian's bsdextrautils"
    shown = subprocess.run([hexdump, "-v", "-C"], input=data, capture_output=True, check=True).stdout
    assert pasted_bytes(shown) == data


@pytest.mark.parametrize(
    "tool", [tool for tool in TOOLS if shutil.which(tool.command.split()[0])], ids=lambda t: t.command
)
def test_models_write_what_the_installed_tools_write(tool: Tool) -> None:
    for data in random_bytes():
        environment = {**os.environ, "LC_ALL": "C"}
        command = tool.command.split()
        shown = subprocess.run(command, input=data, capture_output=True, check=True, env=environment).stdout.decode()
        assert tool.write(data) == shown
