"""Run by .ci/python-3.14 on Pyodide, which is CPython 3.14 without sockets and processes: compiles and imports every
module of the repository with warnings as errors, then runs test files with pytest.
"""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path

#: What is nested too deep for a parser: WebAssembly's stack ends the whole run before Python's limit comes, or there is
#: no limit at that depth.
TOO_DEEP = "nested and (text_that_is_not_a_recording_is_refused or what_is_wrong_with_it_is_named)"


def main(files: Sequence[str]) -> int:
    """pytest's exit status for these files; an exception when a module does not compile or import."""
    print(f"Python {sys.version}")
    warnings.simplefilter("error")
    compile_all()
    import_all()
    import pytest

    class NoProcesses:
        """Leaves out each test that starts a process: Pyodide has none."""

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(self) -> Generator[None, object, object]:
            try:
                return (yield)
            except OSError as error:
                if error.errno == errno.ENOTSUP:
                    pytest.skip(str(error))
                raise

    options = ["-q", "-c", os.devnull, "--rootdir", ".", "-W", "error", "-p", "no:cacheprovider"]
    return int(pytest.main([*options, "-k", f"not ({TOO_DEEP})", *files], [NoProcesses()]))


def compile_all() -> None:
    """Compile all modules. Code for which 3.14 has a warning, such as `return` in `finally`, is an error."""
    for package in ("zkwire", "election", "tests", "examples", "benchmarks", "docs"):
        for path in Path(package).rglob("*.py"):
            compile(path.read_bytes(), str(path), "exec")


def import_all() -> None:
    """Import every module of both packages, also those that need trio."""
    import_trio()
    for package in ("zkwire", "election"):
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)


def import_trio() -> None:
    """Import trio, which does not know this platform and asks for one more function of Linux. It cannot run here."""
    platform, sys.platform = sys.platform, "linux"
    os.pidfd_open = None  # type: ignore[assignment]
    try:
        importlib.import_module("trio")
    finally:
        sys.platform = platform
        del os.pidfd_open
