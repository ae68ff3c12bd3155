"""go-zookeeper (Debian: golang-github-go-zookeeper-zk-dev or golang-github-samuel-go-zookeeper-dev): go_client.go."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.peers.compiled import CompiledPeer, compiled

_GOPATH = Path("/usr/share/gocode")
_PACKAGES = ("github.com/go-zookeeper/zk", "github.com/samuel/go-zookeeper/zk")


class GoClient(CompiledPeer):
    @classmethod
    def build(cls) -> Path:
        package = next((name for name in _PACKAGES if (_GOPATH / "src" / name).is_dir()), None)
        if shutil.which("go") is None or package is None:
            raise ImportError("golang-go and golang-github-samuel-go-zookeeper-dev are needed")
        source = Path(__file__).with_suffix(".go").read_text().replace(_PACKAGES[0], package)
        environment = {"GO111MODULE": "off", "GOPATH": str(_GOPATH), "GOFLAGS": ""}
        return compiled(source, ".go", ["go", "build", "-o", "{program}", "{source}"], environment)
