"""The examples, run as their reader would run them."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.conftest import External
from tests.support.live import client
from tests.support.processes import free_port, wait_until
from tests.support.program import PATIENCE, Program, module, run
from tests.support.real.servers import Server
from zkwire import Direction, OpCode, Tap
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import Pass

ROOT = Path(__file__).parents[2]
PORT = free_port()

#: The programs of the five tutorials: their arguments, what they print when they are at work, and a path on which a
#: persistent znode stops them, with what they print about it.
TUTORIALS = {
    "scheduled_job": ((), "runs the job", "/ElectMasterDemo/master", "is not ephemeral"),
    "address": (("10.0.0.1:80",), "this is the master", "/master", "is not ephemeral"),
    "proclaim": (("--ticks", "1000", "--tick", "0.1"), "works on 1", "/proclaimed-holder", "is not ephemeral"),
    "daytime_server": (("--port", str(PORT)), "is registered", f"/go_servers/127.0.0.1:{PORT}", "no session owns it"),
    "daytime_client": ((), "no server is registered", None, None),
}


def test_takeover_shows_its_steps_and_their_frames(zookeeper: Server | External, root: str) -> None:
    options = ["--hosts", zookeeper.address, "--path", root]
    with Program(module("examples.takeover", "A", *options)) as first:
        first.says("^A leads$")
        with Program(module("examples.takeover", "B", *options)) as second:
            second.says("^B stands by$")
            first.send(signal.SIGKILL)
            second.says("^B leads$")
            second.send(signal.SIGTERM)
            assert second.ends() == 0
    assert second.lines("^B ") == ["B stands by", f"B sees NODE_DELETED {root}", "B leads"]
    shown = second.printed
    for frame in ("> ConnectRequest", "< create xid=1 NODE_EXISTS", "> exists xid=2", "< event NODE_DELETED"):
        assert frame in shown
    assert "> closeSession" in shown
    assert "ExistsRequest.watch = True" in shown


def test_takeover_without_a_server_says_so_and_fails() -> None:
    ended = run("examples.takeover", "A", "--hosts", "127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"takeover: no session within .*\n", ended.stderr)


# --- the programs of the tutorials


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_without_a_server_says_so_in_one_line(name: str) -> None:
    ended = run(f"examples.{name}", *TUTORIALS[name][0], "--hosts", "127.0.0.1:1", "--session-timeout", "1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(rf"{name}: no session within [13] s \(127\.0\.0\.1:1: .*\)\n", ended.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", TUTORIALS)
async def test_tutorial_that_is_stopped_closes_its_session_and_says_so_in_one_line(
    zookeeper: Server | External, root: str, name: str, number: signal.Signals
) -> None:
    arguments, at_work, _, _ = TUTORIALS[name]
    closed: list[SeenFrame] = []

    def note(seen: SeenFrame) -> Pass:
        if seen.opcode is OpCode.CLOSE_SESSION and seen.direction is Direction.RECEIVED:
            closed.append(seen)
        return Pass()

    async with client(zookeeper) as zk:
        await zk.ensure_path(root)
    async with Tap(zookeeper.address) as tap:
        tap.fault = note
        with Program(module(f"examples.{name}", *arguments, "--hosts", tap.address + root)) as program:
            await trio.to_thread.run_sync(program.says, at_work)
            program.send(number)
            assert await trio.to_thread.run_sync(program.ends) == 0
    assert len(closed) == 1
    expected = "deregistered" if name == "daytime_server" else f"{name}: stopped by {number.name}"
    assert program.lines()[-1] == expected
    assert "Traceback" not in program.printed


@pytest.mark.parametrize("name", [name for name, tutorial in TUTORIALS.items() if tutorial[2]])
async def test_tutorial_with_a_persistent_znode_in_its_way_says_so_in_one_line(
    zookeeper: Server | External, root: str, name: str
) -> None:
    arguments, _, path, problem = TUTORIALS[name]
    assert path is not None
    async with client(zookeeper) as zk:
        await zk.ensure_path(root + path)
    hosts = zookeeper.address + root
    ended = await trio.to_thread.run_sync(lambda: run(f"examples.{name}", *arguments, "--hosts", hosts))
    assert ended.returncode == 1
    assert re.fullmatch(rf"{name}: {path} .*{problem}.*\n", ended.stderr)


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_is_short(name: str) -> None:
    """The part that a reader copies, without the docstring before it, imports and command line."""
    source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    body = source.split('"""', 2)[2].partition('if __name__ == "__main__":')[0]
    lines = [line for line in body.splitlines() if line and not line.startswith(("import ", "from "))]
    assert len(lines) <= 40


# --- what examples/README.md says

GUIDE = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
TRANSCRIPTS = [block for block in re.findall(r"```\n(.+?)```", GUIDE, re.DOTALL) if block.startswith("A$ ")]
#: What differs from one run to the next, in the lines that programs print.
VARYING = [
    (r"^\d+ (?=leads|stands|runs)", r"\d+ "),
    (r"^\d+ (?=myhost|second)", r"\d+ "),
    (r"token \d+", r"token \d+"),
    (r"\d\d:\d\d:\d\d", r"\d\d:\d\d:\d\d"),
    (r"\.\d{6}$", r"\.\d{6}"),
    (r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d-\d\d"),
    (r"127\.0\.0\.1:889\d", r"127\.0\.0\.1:(PORTS)"),
    (r"myhost-\d{13}", r"\S+-\d{13}"),
]


class Terminal:
    """One of the guide's terminals: the program that runs in it, and which of its lines were expected so far."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._programs: list[Program] = []
        self._since = 0  # the lines of the program before this index belong to an earlier group

    def type(self, command: str, environment: dict[str, str]) -> None:
        python, dash, name, *arguments = shlex.split(command)
        assert (python, dash) == ("python", "-m")
        if name == "examples.daytime_server":
            arguments += ["--port", *environment["PORTS"].split("|")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ZKWIRE_HOSTS", environment["ZKWIRE_HOSTS"])
            self._programs.append(Program(module(name, *arguments), keys=True))
        self._since = 0

    def prints(self, lines: list[str], ports: str) -> None:
        """Wait for these lines, in whatever order: several tasks of the program may print them."""
        patterns = [pattern_of(line, ports) for line in lines]
        program = self._programs[-1]

        def places() -> list[int | None]:
            found: list[int | None] = []
            printed = list(enumerate(program.lines()))[self._since :]
            for pattern in patterns:
                matching = (at for at, line in printed if at not in found and re.fullmatch(pattern, line))
                found.append(next(matching, None))
            return found

        done = wait_until(lambda: None not in places(), PATIENCE)
        assert done, f"{self._name}: {lines} expected in:\n{program.printed}"
        self._since = max(at for at in places() if at is not None) + 1

    def press(self, key: str) -> None:
        program = self._programs[-1]
        if key == "Ctrl-C":
            program.send(signal.SIGINT)
        elif key == "kill -9":
            program.send(signal.SIGKILL)
        else:
            program.press("q\n" if key == "q Enter" else "\n")
        if key != "Enter":
            assert program.ends() == (-signal.SIGKILL if key == "kill -9" else 0)

    def close(self) -> None:
        for program in self._programs:
            program.kill()


def pattern_of(line: str, ports: str) -> str:
    """What is printed when the guide shows this line."""
    spans = sorted(
        (match.start(), match.end(), replacement.replace("PORTS", ports))
        for varying, replacement in VARYING
        for match in re.finditer(varying, line)
    )
    pattern, at = "", 0
    for start, end, replacement in spans:
        pattern += re.escape(line[at:start]) + replacement
        at = end
    return pattern + re.escape(line[at:])


@pytest.fixture(scope="module", params=range(len(TRANSCRIPTS)))
def shell_of_servers(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, Program]]:
    """A transcript, the connect string of its servers, and the shell that was started with them, as the guide says."""
    commands = re.findall(r"^python -m tests\.support\.real run .*(?=-- bash)", GUIDE, re.MULTILINE)
    transcript = TRANSCRIPTS[request.param]
    command = shlex.split(commands["S$" in transcript])
    with Program([sys.executable, *command[1:], "--", "bash"], keys=True, apart=True) as shell:
        shell.press("echo $ZKWIRE_HOSTS\n")
        yield transcript, shell.next(), shell
        shell.close_keys()
        shell.ends()


def test_tutorial_goes_as_the_guide_shows(
    shell_of_servers: tuple[str, str, Program],
) -> None:
    transcript, hosts, shell = shell_of_servers
    ports = "|".join(str(free_port()) for _ in range(3))
    environment = {"ZKWIRE_HOSTS": hosts, "PORTS": ports}
    terminals = {name: Terminal(name) for name in "ABC"}
    steps = [(line[:2], line[3:]) for line in transcript.splitlines()]
    try:
        for (name, kind), group in itertools.groupby(steps, key=lambda step: step[0]):
            lines = [text for _, text in group]
            if kind == ">":
                terminals[name].prints(lines, ports)
                continue
            for line in lines:
                if name == "S":
                    shell.press(line + "\n")
                elif kind == "$":
                    terminals[name].type(line, environment)
                else:
                    terminals[name].press(line)
    finally:
        for terminal in terminals.values():
            terminal.close()


def test_guide_has_the_five_tutorials_and_names_what_exists() -> None:
    tutorials = re.findall(r"^\| \[(\d\. .+?)\]\(#(.+?)\) \| (.+) \|$", GUIDE, re.MULTILINE)
    assert [title for title, _, _ in tutorials] == re.findall(r"^## (\d\. .+)$", GUIDE, re.MULTILINE)
    assert len(tutorials) == len(TRANSCRIPTS) == 5
    assert {name for _, _, programs in tutorials for name in re.findall(r"\((\w+)\.py\)", programs)} == set(TUTORIALS)
    for title, anchor, _ in tutorials:
        assert anchor == re.sub(r"[^a-z0-9 ]", "", title.lower()).replace(" ", "-")
    for name in re.findall(r"\]\(([^)#]+)", GUIDE):
        assert (ROOT / "examples" / name).exists()
    for name in re.findall(r"python -m ([a-z_.]+)", GUIDE):
        assert importlib.util.find_spec(name), name
