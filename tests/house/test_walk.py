"""docs/walk.md: its functions exist, are called in that order, and make the bytes or frames that the page shows."""

from __future__ import annotations

import importlib
import inspect
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType

import pytest
import trio
from trio.testing import MockClock

import zkwire
from election import Election, Term
from tests.support.fake.ensemble import FakeEnsemble
from tests.support.fake.memory import MemoryServers, ServerSide
from tests.support.fake.scripts import connect
from zkwire import EventType, Frame, format_frame
from zkwire.client.transport import SocketTransport, Transport

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
#: A hop, or a cell of the table of bytes: the function, and the file that it is in.
PLACE = re.compile(r"\[`([\w.]+)`\]\(\.\./((?:zkwire|election)/[\w/]+)\.py\)")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def hops(title: str) -> list[tuple[str, str]]:
    """(file without .py, function) of each numbered step of a section."""
    steps = re.findall(r"^\d+\. .+(?:\n   .+)*", section(title), re.MULTILINE)
    return [(match[2], match[1]) for step in steps for match in PLACE.finditer(step)]


def code_of(file: str, name: str) -> CodeType:
    """The code of the function that a place names."""
    target: object = importlib.import_module(file.replace("/", "."))
    for part in name.split("."):
        target = inspect.getattr_static(target, part)
    if isinstance(target, property):
        target = target.fget
    if isinstance(target, staticmethod):
        target = target.__func__
    assert inspect.isroutine(target), name
    code: CodeType = inspect.unwrap(target).__code__
    return code


class SocketServers(MemoryServers):
    """The same over a pair of sockets, so that the client's side is what TCP has."""

    async def dial(self, address: str, port: int, host_name: str) -> Transport:
        ours, theirs = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        conversation = ServerSide(self, stream, address)  # type: ignore[arg-type]
        self.conversations.append(conversation)
        trio.lowlevel.spawn_system_task(self._play, self.scripts[0], conversation)
        return SocketTransport(ours)


@contextmanager
def calls(package: str = "zkwire") -> Iterator[list[CodeType]]:
    """The code of each call on the client's side within the block, in order."""
    found: list[CodeType] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or f"/{package}/" not in frame.f_code.co_filename:
            return
        outer: FrameType | None = frame
        while outer is not None:
            if "/tests/support/fake/" in outer.f_code.co_filename:
                return  # the server's side uses some of the same functions
            outer = outer.f_back
        found.append(frame.f_code)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


def first_not_called(title: str, called: list[CodeType]) -> str | None:
    """The first hop that was not called after those before it."""
    rest = iter(called)
    for file, name in hops(title):
        code = code_of(file, name)
        if not any(each is code for each in rest):
            return f"{file}.py: {name}"
    return None


def shown(title: str) -> list[str]:
    """The dumps in a section."""
    blocks = re.findall(r"^```\n([<>] .+?)\n```", section(title), re.DOTALL | re.MULTILINE)
    return [dump for block in blocks for dump in block.split("\n\n")]


def dumps(frames: list[Frame]) -> list[str]:
    return [format_frame(frame) for frame in frames if frame.opcode is not zkwire.OpCode.PING]


async def test_get_data_and_its_event_go_through_the_functions_of_the_page_in_that_order() -> None:
    servers = SocketServers()
    frames: list[Frame] = []
    async with connect(servers) as zk:  # without on_frame, which takes a way of its own
        with calls() as called:
            call = zk.get_data("/a")
        assert first_not_called("Out: from the call to the bytes", called) is None
        with calls() as called:
            await call
        assert first_not_called("Back: from the bytes to the result", called) is None
        *_, watch = await zk.get_data_and_watch("/a")
        async with trio.open_nursery() as nursery:
            with calls() as called:
                nursery.start_soon(servers.conversations[-1].notify, EventType.NODE_DATA_CHANGED, "/a")
                await watch.wait()
        assert first_not_called("An event", called) is None
    servers = SocketServers()
    async with connect(servers, on_frame=frames.append) as zk:
        del frames[:]
        await zk.get_data("/a")
        assert shown("Out: from the call to the bytes") == dumps(frames)[:1]
        assert shown("Back: from the bytes to the result") == dumps(frames)[1:]
        *_, watch = await zk.get_data_and_watch("/a")
        del frames[:]
        await servers.conversations[-1].notify(EventType.NODE_DATA_CHANGED, "/a")
        await watch.wait()
        assert shown("An event") == dumps(frames)


async def test_campaign_goes_through_the_functions_of_the_page_in_that_order(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    guids = iter("AB")
    monkeypatch.setattr("election.leader.campaign.new_guid", lambda: next(guids))
    frames: list[Frame] = []
    called: list[CodeType] = []

    async def body(term: Term) -> None:
        sys.setprofile(None)

    async with (
        FakeEnsemble(3).running() as ensemble,
        ensemble.client("a", 6.0) as one,
        ensemble.client("b", 6.0, on_frame=frames.append) as two,
        trio.open_nursery() as nursery,
    ):
        term = await Election(one, "/jobs", overrun="ignore", boottime=ensemble.boottime).campaign()
        election = Election(two, "/jobs", overrun="ignore", boottime=ensemble.boottime)
        del frames[:]
        with calls("election") as called:
            nursery.start_soon(election.run, body)
            await trio.sleep(0.2)
            await term.resign()
            await trio.sleep(0.2)
    assert first_not_called("A campaign", called) is None
    titles = [re.sub(r"( zxid=\w+)? +\d+ bytes$", "", dump.partition("\n")[0]) for dump in dumps(frames)]
    (block,) = re.findall(r"^```\n(.+?)\n```", section("A campaign"), re.DOTALL | re.MULTILINE)
    assert titles[: len(block.splitlines())] == block.splitlines()


@pytest.mark.parametrize(("name", "file"), sorted(set(PLACE.findall(PAGE))))
def test_place_named_in_the_page_exists(name: str, file: str) -> None:
    code = code_of(file, name)
    assert Path(code.co_filename) == ROOT / f"{file}.py"


def test_the_page_has_its_hops() -> None:
    assert len(hops("Out: from the call to the bytes")) >= 10
    assert len(hops("Back: from the bytes to the result")) >= 10
    assert len(hops("An event")) >= 6
    assert len(hops("A campaign")) == 18


@pytest.mark.parametrize("name", re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE))
def test_file_named_in_the_page_exists(name: str) -> None:
    assert (ROOT / "docs" / name).exists()
