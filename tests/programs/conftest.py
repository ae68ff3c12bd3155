"""Fixtures of the tests that start programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.commands import Fifo
from tests.support.program import Program


@pytest.fixture
def started() -> Iterator[Callable[..., Program]]:
    """Starts a command, as `Program` does. All of them are killed at the end of the test."""
    with ExitStack() as stack:

        def start(command: Sequence[str], **options: object) -> Program:
            return stack.enter_context(Program(command, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    made = Fifo(tmp_path / "fifo")
    yield made
    made.close()
