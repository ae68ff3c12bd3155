"""ZooKeeper's own C client, the multi-threaded one (Debian: libzookeeper-mt-dev): c_client.c."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.peers.compiled import CompiledPeer, compiled

_HEADER = Path("/usr/include/zookeeper/zookeeper.h")


class CClient(CompiledPeer):
    @classmethod
    def build(cls) -> Path:
        if shutil.which("gcc") is None or not _HEADER.exists():
            raise ImportError("gcc and libzookeeper-mt-dev are needed")
        source = Path(__file__).with_suffix(".c").read_text()
        return compiled(source, ".c", ["gcc", "-O2", "-Wall", "{source}", "-o", "{program}", "-lzookeeper_mt"])
