"""`python -m election` against real servers: what it prints, its exit status, and runners that take over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import zkwire
from election import Election
from election.command.verbs import main
from tests.conftest import External
from tests.support.commands import Fifo, python, shell, trapping
from tests.support.live import PATIENCE, client, until_children, until_gone
from tests.support.processes import wait_until
from tests.support.program import Program, module
from tests.support.real.servers import Server
from zkwire import Client, CreateMode

#: Seconds: the session timeout of runners that are stopped or killed. A loaded machine must prove leadership each T/16.
TIMEOUT = 6.0


@pytest.fixture(autouse=True)
def hosts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """$ZKWIRE_HOSTS, for tests that have servers."""
    if "zookeeper" not in request.fixturenames:
        return None
    server: Server | External = request.getfixturevalue("zookeeper")
    monkeypatch.setenv("ZKWIRE_HOSTS", server.address)
    return server.address


@pytest.fixture
def start(started: Callable[..., Program]) -> Callable[..., Program]:
    """Starts `python -m election`."""
    return lambda *arguments: started(module("election", *arguments), apart=True)


def hears(program: Program, event: str) -> dict[str, Any]:
    """Wait for a message of `run --json`."""
    while True:
        message: dict[str, Any] = json.loads(program.next(on=program.err))
        if message["event"] == event:
            return message


def ask(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a verb to its end, here: status, stdout, stderr."""
    capfd.readouterr()
    status = main(list(arguments))
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def on_server(work: Callable[[Client], Any]) -> Any:
    """What `work(client)` returns."""

    async def connected() -> Any:
        with trio.fail_after(60):
            async with zkwire.connect(os.environ["ZKWIRE_HOSTS"]) as zk:
                return await work(zk)

    return trio.run(connected)


WAITS = "exec sleep 1000"
READY = f"echo ready >&9; {WAITS}"


# --- run


def test_command_runs_as_leader_and_its_status_is_passed_on(
    zookeeper: Server, root: str, start: Callable[..., Program], capfd: pytest.CaptureFixture[str]
) -> None:
    script = 'echo "$ELECTION_PATH $ELECTION_NODE $ELECTION_TOKEN"; cat; exit 7'
    process = start("run", root, "--data", "Ä", "--json", "--", *shell(script))
    message = hears(process, "leading")
    status, out, _ = process.result()
    assert (status, out) == (7, f"{root} {message['node']} {message['token']}\n")
    assert message["path"] == root
    assert on_server(lambda zk: zk.get_children(root)) == []
    assert ask(capfd, "leader", root) == (4, "", f"election: {root}: there is no leader\n")


@pytest.mark.parametrize("mode", ["sequential", "simple"])
def test_readers_see_the_leader_and_the_candidates_that_wait(
    zookeeper: Server,
    root: str,
    start: Callable[..., Program],
    capfd: pytest.CaptureFixture[str],
    fifo: Fifo,
    mode: str,
) -> None:
    options = (root, "--mode", mode)
    observer = start("observe", *options)
    assert observer.next() == "no leader"
    first = start("run", *options, "--data", "first", "--json", "--", *shell(READY, fifo))
    leading = hears(first, "leading")
    node, token = leading["node"], leading["token"]
    assert observer.next() == f"leader {node} {token} first"
    assert ask(capfd, "leader", *options) == (0, "first\n", "")
    second = start("run", *options, "--data", "second", "--json", "--", *shell(READY, fifo))
    listed = [f"* {node} {token} first"]
    if mode == "sequential":
        assert wait_until(lambda: len(ask(capfd, "list", *options)[1].splitlines()) == 2, PATIENCE)
        status, out, _ = ask(capfd, "list", *options)
        assert status == 0
        assert out.splitlines()[0] == listed[0]
        assert out.splitlines()[1].startswith(f"  {root}/")
        assert out.splitlines()[1].endswith(" second")
    else:
        assert ask(capfd, "list", *options)[1].splitlines() == listed
    assert fifo.line() == "ready"
    first.send(signal.SIGTERM)
    assert first.ends() == 128 + signal.SIGTERM
    following = hears(second, "leading")
    assert following["token"] > token
    assert observer.next() == "no leader"
    assert observer.next() == f"leader {following['node']} {following['token']} second"
    status, out, _ = ask(capfd, "leader", *options, "--json")
    assert json.loads(out) == {"data": "second", "node": following["node"], "token": following["token"]}
    observer.send(signal.SIGINT)
    assert observer.result() == (1, "", "")


def test_data_is_host_and_process_unless_told(
    zookeeper: Server, root: str, start: Callable[..., Program], capfd: pytest.CaptureFixture[str]
) -> None:
    process = start("run", root, "--json", "--", *shell(WAITS))
    hears(process, "leading")
    assert ask(capfd, "leader", root)[1] == f"{os.uname().nodename}:{process.pid}\n"


def test_try_and_timeout_do_not_wait_for_ever(
    zookeeper: Server, root: str, start: Callable[..., Program], tmp_path: Path
) -> None:
    leader = start("run", root, "--data", "me", "--json", "--", *shell(WAITS))
    node = hears(leader, "leading")["node"]
    ran = tmp_path / "ran"
    for option in (["--try"], ["--timeout", "0.5"]):
        status, out, err = start("run", root, *option, "--", "touch", str(ran)).result()
        assert (status, out) == (1, "")
        assert node in err
        assert err.endswith(" me leads\n")
    assert not ran.exists()
    assert on_server(lambda zk: zk.get_children(root)) == [node.rpartition("/")[2]]
    leader.send(signal.SIGTERM)
    leader.result()
    assert start("run", root, "--try", "--", "touch", str(ran)).ends() == 0
    assert ran.exists()


@pytest.mark.rule("L9")
@pytest.mark.parametrize("on_lost", ["exit", "retry"])
def test_deletion_of_its_znode_ends_the_command(
    zookeeper: Server, root: str, start: Callable[..., Program], fifo: Fifo, on_lost: str
) -> None:
    process = start("run", root, "--on-lost", on_lost, "--json", "--", *shell(READY, fifo))
    node = hears(process, "leading")["node"]
    assert fifo.line() == "ready"
    on_server(lambda zk: zk.delete(node))
    assert "deleted" in hears(process, "lost")["reason"]
    if on_lost == "exit":
        assert process.ends() == 3
        return
    assert hears(process, "leading")["node"] != node
    assert fifo.line() == "ready"
    process.send(signal.SIGTERM)
    assert process.ends() == 128 + signal.SIGTERM


@pytest.mark.rule("R6")
def test_leadership_is_released_when_the_command_has_ended_not_before(
    zookeeper: Server, root: str, start: Callable[..., Program], fifo: Fifo, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = trapping(f"echo asked >&9; read line <{gate}; exit 5")
    process = start("run", root, "--json", "--", *shell(script, fifo))
    node = hears(process, "leading")["node"]
    assert fifo.line() == "ready"
    process.send(signal.SIGTERM)
    assert fifo.line() == "asked"
    assert on_server(lambda zk: zk.exists(node)) is not None
    gate.write_text("go on\n")
    assert process.ends() == 5
    assert on_server(lambda zk: zk.exists(node)) is None


#: Two processes that ignore what can be ignored write the time to a file, each millisecond, until they are killed. The
#: sleep is theirs: what they do between two stamps.
STAMPING = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
stamps = os.open({stamps!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.fork()
while True:
    os.write(stamps, b"%.6f\\n" % time.clock_gettime(time.CLOCK_BOOTTIME))
    time.sleep(0.001)
"""


@pytest.mark.rule("L11", "L13")
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_next_command_starts_when_that_of_a_stopped_or_killed_runner_is_dead(
    zookeeper: Server, root: str, start: Callable[..., Program], fifo: Fifo, tmp_path: Path, number: signal.Signals
) -> None:
    options = (root, "--session-timeout", str(TIMEOUT), "--json", "--")
    first = start("run", *options, *python(STAMPING.format(stamps=str(tmp_path / "first")), fifo))
    hears(first, "leading")
    second = start("run", *options, *python(STAMPING.format(stamps=str(tmp_path / "second")), fifo))
    on_server(lambda zk: until_children(zk, root, 2))
    assert wait_until((tmp_path / "first").exists, PATIENCE)
    first.send(number)
    hears(second, "leading")
    assert wait_until(lambda: (tmp_path / "second").exists() and "\n" in (tmp_path / "second").read_text(), PATIENCE)
    last = max(map(float, (tmp_path / "first").read_text().split()))
    begun = float((tmp_path / "second").read_text().split()[0])
    assert last < begun
    if number == signal.SIGSTOP:
        first.send(signal.SIGCONT)
        hears(first, "lost")
        second.send(signal.SIGINT)  # which ends this command
        assert second.ends() in (1, 128 + signal.SIGINT)
        hears(first, "leading")


@pytest.mark.rule("L11")
async def test_next_command_starts_when_that_of_a_runner_that_is_cut_off_is_dead(
    zookeeper: Server, root: str, start: Callable[..., Program], fifo: Fifo, tmp_path: Path
) -> None:
    def stamping(name: str) -> list[str]:
        return ["--json", "--", *python(STAMPING.format(stamps=str(tmp_path / name)), fifo)]

    with trio.fail_after(60):
        async with zkwire.Tap(zookeeper.address) as tap, zkwire.connect(zookeeper.address) as zk:
            options = (root, "--session-timeout", str(TIMEOUT))
            first = start("run", *options, "--hosts", tap.address, *stamping("first"))
            await trio.to_thread.run_sync(hears, first, "leading")
            second = start("run", *options, *stamping("second"))
            await until_children(zk, root, 2)
            tap.partition()
            await trio.to_thread.run_sync(hears, second, "leading")
            assert await trio.to_thread.run_sync(wait_until, (tmp_path / "second").exists, PATIENCE)
            await tap.heal()
            await trio.to_thread.run_sync(hears, first, "lost")
    assert wait_until(lambda: "\n" in (tmp_path / "second").read_text(), PATIENCE)
    last = max(map(float, (tmp_path / "first").read_text().split()))
    assert last < float((tmp_path / "second").read_text().split()[0])


def test_runner_contends_with_elections_of_the_package(
    zookeeper: Server, root: str, start: Callable[..., Program], tmp_path: Path
) -> None:
    ran = tmp_path / "ran"

    async def lead_before(zk: Client) -> None:
        election = Election(zk, root, dialect="kazoo")
        async with election.lead():
            process = start("run", root, "--dialect", "kazoo", "--", "touch", str(ran))
            await until_children(zk, root, 2)
            assert not ran.exists()
        status, _, err = await trio.to_thread.run_sync(process.result)
        assert status == 0, err

    on_server(lead_before)
    assert ran.exists()


@pytest.mark.parametrize("mode", ["sequential", "simple"])
def test_every_verb_reports_a_znode_that_no_session_owns_in_one_line(
    zookeeper: Server, root: str, start: Callable[..., Program], capfd: pytest.CaptureFixture[str], mode: str
) -> None:
    node = root if mode == "simple" else f"{root}/_c_9d5b1f0c-3a7e-4d21-9f6b-0a1c2d3e4f50-lock-0000000000"
    on_server(lambda zk: zk.ensure_path(node))
    verbs = [("leader", root), ("list", root), ("observe", root), ("run", root, "--", "true")]
    for verb, *rest in [*verbs, ("run", root, "--try", "--", "true"), ("run", root, "--on-lost", "exit", "--", "true")]:
        status, out, err = ask(capfd, verb, "--mode", mode, *rest)
        assert (status, out) == (1, "")
        *before, told = err.splitlines()
        assert told.startswith(f"election: {node} is not ephemeral, no session owns it")
        assert all("wait" in line for line in before)  # for whom `run` waits


def test_path_of_another_dialect_is_refused(
    zookeeper: Server, root: str, start: Callable[..., Program], tmp_path: Path
) -> None:
    leader = start("run", root, "--dialect", "kazoo", "--json", "--", *shell(WAITS))
    hears(leader, "leading")
    status, _, err = start("run", root, "--dialect", "curator-latch", "--", "touch", str(tmp_path / "ran")).result()
    assert status == 1
    assert "kazoo" in err
    assert "curator-latch" in err
    assert not (tmp_path / "ran").exists()


def test_missing_command_is_refused_before_the_election(
    zookeeper: Server, root: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ask(capfd, "run", root, "--", "no-such-command") == (
        127,
        "",
        "election: no-such-command: command not found\n",
    )
    assert ask(capfd, "register", root, "a", "--", "no-such-command")[0] == 127
    assert ask(capfd, "run", root, "--", "/etc/passwd") == (126, "", "election: /etc/passwd: not executable\n")
    assert on_server(lambda zk: zk.exists(root)) is None


# --- what they say while they wait


def test_run_says_which_leader_it_waits_for(zookeeper: Server, root: str, start: Callable[..., Program]) -> None:
    first = start("run", root, "--data", "first", "--json", "--", *shell(WAITS))
    leading = hears(first, "leading")
    in_words = start("run", root, "--", "true")
    line = f"{leading['node']} {leading['token']} first"
    assert in_words.next(on=in_words.err) == f"election: {root}: waiting: {line} leads"
    as_json = start("run", root, "--json", "--", "true")
    shown = {"data": "first", "node": leading["node"], "token": leading["token"]}
    assert hears(as_json, "waiting") == {"event": "waiting", "path": root, "leader": shown}
    first.send(signal.SIGTERM)
    assert in_words.ends() == 0
    hears(as_json, "leading")
    assert as_json.ends() == 0


def test_run_says_that_it_waits_for_the_lease_of_a_leader_whose_znodes_were_deleted(
    zookeeper: Server, root: str, start: Callable[..., Program]
) -> None:
    options = (root, "--session-timeout", str(TIMEOUT), "--json", "--")
    first = start("run", *options, *shell(WAITS))
    node = hears(first, "leading")["node"]
    second = start("run", root, "--session-timeout", str(TIMEOUT), "--", "true")
    second.next(" leads$", on=second.err)
    first.send(signal.SIGSTOP)

    async def delete(zk: Client) -> None:
        await zk.delete(f"{root}-holder")  # in a transaction of its own: no session that expires does this
        await zk.delete(node)

    on_server(delete)
    waiting = f"election: {root}: waiting: this candidate is next, as soon as it is certain that no other leader works"
    assert second.next(on=second.err) == waiting
    assert second.ends() == 0


def test_run_that_leads_at_once_says_nothing_about_waiting(
    zookeeper: Server, root: str, start: Callable[..., Program]
) -> None:
    status, _, err = start("run", root, "--", "true").result()
    assert (status, "waiting" in err) == (0, False)


@pytest.mark.parametrize("command", [[], ["--", "true"]])
def test_register_says_which_session_it_waits_for(
    zookeeper: Server, root: str, start: Callable[..., Program], command: list[str]
) -> None:
    first = start("register", root, "a")
    node = first.next()
    _, stat = on_server(lambda zk: zk.get_data(node))
    second = start("register", root, "a", *command)
    session = f"{stat.ephemeral_owner & 2**64 - 1:#x}"
    waiting = f"election: {node}: waiting: it belongs to session {session}, until that is closed or expires"
    assert second.next(on=second.err) == waiting
    first.send(signal.SIGTERM)
    assert first.ends() == 128 + signal.SIGTERM
    if not command:
        assert second.next() == f"{node}"
        second.send(signal.SIGTERM)
    assert second.ends() == (0 if command else 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    "command",
    [
        ["observe", "PATH"],
        ["members", "PATH", "--watch"],
        ["register", "PATH", "a"],
        ["register", "PATH", "a", "--", "sleep", "1000"],
        ["run", "PATH", "--", "sleep", "1000"],
        ["run", "PATH", "--json", "--", "sleep", "1000"],
    ],
    ids=" ".join,
)
async def test_lost_connection_is_reported_and_so_is_the_next_one(
    zookeeper: Server, root: str, start: Callable[..., Program], command: list[str]
) -> None:
    async with client(zookeeper) as zk, zkwire.Tap(zookeeper.address) as tap:
        if command[0] != "observe":
            await zk.create(root)
        given = [root if each == "PATH" else each for each in command]
        process = start(given[0], "--hosts", tap.address, "--session-timeout", "20", *given[1:])

        def reports(pattern: str) -> str:
            return process.next(pattern, on=process.err)

        if command[0] in ("run", "register"):
            await until_children(zk, root, 1)
        else:
            if command[0] == "members":
                await zk.create(f"{root}/x")
            assert await trio.to_thread.run_sync(process.next) in ("no leader", "+ x")
        tap.refuse()
        tap.cut()
        lost = await trio.to_thread.run_sync(reports, 'no connection to a server any more|"event": "disconnected"')
        assert lost.startswith("{" if "--json" in command else f"election: {root}: ")
        await tap.heal()
        back = await trio.to_thread.run_sync(reports, 'connected again|"event": "connected"')
        assert back.startswith("{" if "--json" in command else f"election: {root}: ")
        process.send(signal.SIGTERM)
        await trio.to_thread.run_sync(process.result)


def test_command_goes_on_when_nobody_reads_the_messages(
    zookeeper: Server, root: str, start: Callable[..., Program], started: Callable[..., Program], fifo: Fifo
) -> None:
    first = start("run", root, "--json", "--", *shell(WAITS))
    hears(first, "leading")
    read, write = os.pipe()
    second = started(module("election", "run", root, "--", *shell("echo leading >&9; exit 5", fifo)), stderr=write)
    os.close(write)
    with open(read) as messages:
        assert "waiting" in messages.readline()
    first.send(signal.SIGTERM)
    assert fifo.line() == "leading"
    assert second.ends() == 5


# --- a command that goes into the background


def test_command_that_goes_into_the_background_is_a_failure_and_reported(
    zookeeper: Server, root: str, start: Callable[..., Program], fifo: Fifo
) -> None:
    text = "has put itself into the background, and what was left of it was ended: run it in the foreground\n"
    for command in (["run", root], ["register", root, "a"]):
        process = start(*command, "--", *shell("echo ready >&9; sleep 1000 & exit 0", fifo))
        status, _, err = process.result()
        assert status == 1
        assert err.endswith(f"election: {root}: the command {text}")
        assert fifo.line() == "ready"
        assert fifo.nobody_is_left()
    process = start("run", root, "--json", "--", *shell("sleep 1000 & exit 0"))
    hears(process, "background")
    assert hears(process, "ended")["status"] == 1
    assert process.ends() == 1


# --- readers


def test_missing_path_is_an_empty_election(zookeeper: Server, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(capfd, "leader", root) == (4, "", f"election: {root}: there is no leader\n")
    assert ask(capfd, "leader", root, "--json")[:2] == (4, "")
    assert ask(capfd, "list", root) == (0, "", "")
    assert ask(capfd, "list", root, "--mode", "simple", "--json") == (0, "", "")
    assert on_server(lambda zk: zk.exists(root)) is None


def test_data_that_is_not_text_is_shown_too(
    zookeeper: Server, root: str, start: Callable[..., Program], capfd: pytest.CaptureFixture[str]
) -> None:
    async def lead(zk: Client) -> str:
        created = await zk.create(root, b"\xff\n\x1b", mode=CreateMode.EPHEMERAL)
        zk.detach()  # the session goes on, and so does the ephemeral
        return created

    node = on_server(lead)
    assert ask(capfd, "leader", root, "--mode", "simple") == (0, "\\xff\\n\\x1b\n", "")
    status, out, _ = ask(capfd, "list", root, "--mode", "simple", "--json")
    found = json.loads(out)
    assert (status, found["data"], found["node"], found["is_leader"]) == (0, {"base64": "/wob"}, node, True)
    observer = start("observe", root, "--mode", "simple", "--json")
    assert json.loads(observer.next())["data"] == {"base64": "/wob"}
    on_server(lambda zk: zk.delete(root))
    assert json.loads(observer.next()) == {"data": None, "node": None, "token": None}


def test_reader_of_the_output_may_close_the_pipe(
    zookeeper: Server, root: str, start: Callable[..., Program], started: Callable[..., Program]
) -> None:
    read, write = os.pipe()
    observer = started(module("election", "observe", root), stdout=write, apart=True)
    os.close(write)
    with open(read) as shown:
        assert shown.readline() == "no leader\n"
    start("run", root, "--", *shell(WAITS))
    assert observer.ends() == 1
    assert observer.err.text == ""


# --- registries


def test_member_is_registered_while_its_command_runs(
    zookeeper: Server, root: str, start: Callable[..., Program], capfd: pytest.CaptureFixture[str], fifo: Fifo
) -> None:
    watcher = start("members", root, "--watch")
    process = start("register", root, "10.0.0.1:80", "--data", "x y", "--", *shell(READY, fifo))
    assert fifo.line() == "ready"
    assert watcher.next() == "+ 10.0.0.1:80 x y"
    assert ask(capfd, "members", root) == (0, "10.0.0.1:80 x y\n", "")
    for strategy in ("random", "round-robin", "sticky", "least-loaded"):
        assert ask(capfd, "pick", root, "--strategy", strategy) == (0, "10.0.0.1:80\n", "")
    shown = {"name": "10.0.0.1:80", "host": "10.0.0.1", "port": 80, "data": "x y", "enabled": True}
    for verb in ("members", "pick"):
        assert json.loads(ask(capfd, verb, root, "--json")[1]) == shown
    process.send(signal.SIGUSR1)
    assert process.result() == (128 + signal.SIGUSR1, "", f"election: registered as {root}/10.0.0.1:80\n")
    assert watcher.next() == "- 10.0.0.1:80 x y"
    assert ask(capfd, "members", root) == (0, "", "")
    status, out, err = ask(capfd, "pick", root)
    assert (status, out) == (4, "")
    assert "no members" in err


def test_member_is_taken_out_before_its_command_is_asked_to_end(
    zookeeper: Server, root: str, start: Callable[..., Program], fifo: Fifo, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = trapping(f"echo asked >&9; read line <{gate}; exit 5")
    process = start("register", root, "a", "--", *shell(script, fifo))
    assert fifo.line() == "ready"
    assert on_server(lambda zk: zk.get_children(root)) == ["a"]
    process.send(signal.SIGTERM)
    assert fifo.line() == "asked"
    assert on_server(lambda zk: zk.get_children(root)) == []
    gate.write_text("go on\n")
    assert process.ends() == 5


def test_registration_without_a_command_lasts_until_a_signal(
    zookeeper: Server, root: str, start: Callable[..., Program]
) -> None:
    process = start("register", root, "127.0.0.1:80", "--layout", "curator", "--data", '{"a": 1}', "--json")
    node = json.loads(process.next())["node"]
    data, stat = on_server(lambda zk: zk.get_data(node))
    assert json.loads(data)["port"] == 80
    assert stat.ephemeral_owner
    process.send(signal.SIGTERM)
    assert process.result() == (128 + signal.SIGTERM, "", "")
    assert on_server(lambda zk: zk.get_children(root)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_registration_that_waits_for_its_name_ends_by_a_signal(
    zookeeper: Server, root: str, start: Callable[..., Program], number: int
) -> None:
    first = start("register", root, "a")
    first.next()
    second = start("register", root, "a", "-v")
    second.next("^> exists", on=second.err)
    second.send(number)
    expected = 1 if number == signal.SIGINT else 128 + number  # as of every verb
    status, out, _ = second.result()
    assert (status, out) == (expected, "")
    first.send(number)
    assert first.ends() == expected


def test_registration_outlives_its_session(zookeeper: Server, root: str, start: Callable[..., Program]) -> None:
    process = start("register", root, "a", "--session-timeout", "1")
    node = process.next()
    process.send(signal.SIGSTOP)
    on_server(lambda zk: until_gone(zk, node))
    process.send(signal.SIGCONT)
    on_server(lambda zk: until_children(zk, root, 1))
    process.send(signal.SIGTERM)
    assert process.ends() == 128 + signal.SIGTERM


def test_member_that_cannot_be_read_is_reported(
    zookeeper: Server, root: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async def put(zk: Client) -> None:
        await zk.create(root)
        await zk.create(root + "/bad", b"no JSON")

    on_server(put)
    status, out, err = ask(capfd, "members", root, "--layout", "curator")
    assert (status, out) == (0, "")
    assert err.startswith("election: bad is left out: ")


CURATOR = '{{"name":"s","id":"x","address":{},"port":{},"sslPort":{}}}'


@pytest.mark.parametrize(
    ("layout", "name", "data", "why"),
    [
        ("curator", "x", CURATOR.format('"10.0.0.1"', "null", "8443"), "only a TLS port, 8443"),
        ("curator", "x", CURATOR.format("null", "null", "null"), "neither a host nor a port"),
        ("curator", "x", CURATOR.format("null", "80", "null"), "host None, port 80"),
        ("curator", "x", CURATOR.format('""', "80", "null"), "host '', port 80"),
        ("curator", "x", CURATOR.format('"a b"', "80", "null"), "host 'a b', port 80"),
        ("curator", "x", CURATOR.format('"fe80:x"', "80", "null"), "host 'fe80:x', port 80"),
        ("curator", "x", CURATOR.format('"a\\u001b"', "80", "null"), r"host 'a\x1b', port 80"),
        ("curator", "x", CURATOR.format('"h"', "0", "null"), "host 'h', port 0"),
        ("curator", "x", CURATOR.format('"h"', "70000", "null"), "host 'h', port 70000"),
        ("serverset", "member_1", '{"serviceEndpoint":{"host":"","port":1},"status":"ALIVE"}', "host '', port 1"),
        ("names", "worker", "", "neither a host nor a port"),
    ],
)
def test_pick_prints_no_member_that_has_no_address(
    zookeeper: Server, root: str, capfd: pytest.CaptureFixture[str], layout: str, name: str, data: str, why: str
) -> None:
    async def put(zk: Client) -> None:
        await zk.create(root)
        await zk.create(f"{root}/{name}", data.encode())

    async def put_good(zk: Client) -> None:
        good = {
            "names": ("h1:1", ""),
            "curator": ("good", CURATOR.format('"h1"', '"1"', "null")),
            "serverset": ("member_2", '{"serviceEndpoint":{"host":"h1","port":1},"status":"ALIVE","shard":"3"}'),
        }
        await zk.create(f"{root}/{good[layout][0]}", good[layout][1].encode())

    on_server(put)
    left_out = f"election: {name} is left out: it has no address, HOST:PORT: {why}\n"
    nobody = f"election: {root} has no members that may be used and have an address\n"
    for more in ([], ["--json"]):
        assert ask(capfd, "pick", root, "--layout", layout, *more) == (4, "", left_out + nobody)
    assert ask(capfd, "members", root, "--layout", layout)[0] == 0  # which lists it all the same
    on_server(put_good)
    for strategy in ("random", "round-robin", "sticky", "least-loaded"):
        assert ask(capfd, "pick", root, "--layout", layout, "--strategy", strategy) == (0, "h1:1\n", left_out)


def test_pick_prints_ipv6_in_brackets(zookeeper: Server, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    async def put(zk: Client) -> None:
        await zk.create(root)
        await zk.create(f"{root}/x", CURATOR.format('"fe80::1%eth0"', "80", "null").encode())

    on_server(put)
    assert ask(capfd, "pick", root, "--layout", "curator") == (0, "[fe80::1%eth0]:80\n", "")


@pytest.mark.rule("D9")
@pytest.mark.parametrize(
    ("layout", "name", "data"),
    [
        ("curator", "x", '{"name":null,"id":null,"address":"h","port":"8080","registrationTimeUTC":null}'),
        ("curator", "x", '{"name":"s","id":"x","address":"h","port":8080,"serviceType":null,"uriSpec":null}'),
        (
            "serverset",
            "member_1",
            '{"serviceEndpoint":{"host":"h","port":8080},"additionalEndpoints":null,"status":"ALIVE"}',
        ),
        ("serverset", "member_1", '{"serviceEndpoint":{"host":"h","port":8080},"shard":"3","status":"ALIVE"}'),
    ],
)
def test_member_with_null_or_a_number_as_text_is_shown(
    zookeeper: Server, root: str, capfd: pytest.CaptureFixture[str], layout: str, name: str, data: str
) -> None:
    async def put(zk: Client) -> None:
        await zk.create(root)
        await zk.create(f"{root}/{name}", data.encode())

    on_server(put)
    assert ask(capfd, "pick", root, "--layout", layout) == (0, "h:8080\n", "")
    status, out, err = ask(capfd, "members", root, "--layout", layout, "--json")
    assert (status, err) == (0, "")
    assert (json.loads(out)["host"], json.loads(out)["port"]) == ("h", 8080)


# --- usage, and no servers


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "/a"], "a command to run is needed: -- CMD [ARG...]"),
        (["run", "/a", "--"], "a command to run is needed: -- CMD [ARG...]"),
        (["run", "/a", "true"], "unrecognized arguments: true"),
        (["run", "/a", "--timeout", "-1", "--", "true"], "'-1' is not a number of seconds"),
        (["run", "/a", "--try", "--timeout", "1", "--", "true"], "not allowed with"),
        (["leader", "/a", "--", "true"], "this verb runs no command: leave out --"),
        (["pick", "/a", "--strategy", "best"], "invalid choice: 'best'"),
        ([], "required: VERB"),
    ],
)
def test_usage_error_exits_2(arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert text in capfd.readouterr().err


def test_impossible_path_exits_2(zookeeper: Server, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["leader", "a"], ["leader", "/"], ["run", "a", "--", "true"], ["members", "a"], ["pick", "/"]):
        status, out, err = ask(capfd, *arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("election: ")
    assert ask(capfd, "register", "/a", "no address", "--layout", "curator")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [["leader", "/a/"], ["run", "/a//b", "--", "true"], ["members", "/a//b"], ["list", "/a", "--session-timeout", "0"]],
)
def test_what_the_client_refuses_to_send_exits_2(
    zookeeper: Server, arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    status, out, err = ask(capfd, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("election: ")


def redirected(arguments: str, redirection: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m election {arguments} {redirection}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_streams_that_are_closed_full_or_ascii_lose_no_more_than_they_must(zookeeper: Server, root: str) -> None:
    name = "ü"
    on_server(lambda zk: zk.create(root))
    on_server(lambda zk: zk.create(f"{root}/{name}", name.encode()))
    asked = f"members {root}"
    closed = redirected(asked, ">&- 2>&-")
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "", "")
    full = redirected(asked, ">/dev/full")
    assert (full.returncode, full.stderr) == (1, "election: No space left on device\n")
    ascii_only = redirected(asked, "", PYTHONIOENCODING="ascii")
    assert (ascii_only.returncode, ascii_only.stdout, ascii_only.stderr) == (0, "\\xfc \\xfc\n", "")
    as_json = redirected(f"{asked} --json", "", PYTHONIOENCODING="ascii")
    assert json.loads(as_json.stdout)["name"] == name


@pytest.mark.parametrize(
    "arguments",
    [["leader", "/a"], ["observe", "/a"], ["run", "/a", "--", "true"], ["pick", "/a"], ["register", "/a", "b"]],
)
def test_no_server_exits_2_and_names_it(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    more = ["--hosts", "127.0.0.1:1", "--session-timeout", "0.3"]
    status, out, err = ask(capfd, arguments[0], *more, *arguments[1:])
    assert (status, out) == (2, "")
    assert "127.0.0.1:1: ConnectionRefusedError" in err


def test_verbose_prints_every_frame_on_stderr(zookeeper: Server, root: str, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = ask(capfd, "list", root, "-v")
    assert (status, out) == (0, "")
    titles = [line.split()[:2] for line in err.splitlines() if line[:2] in ("> ", "< ")]
    assert titles[:2] == [[">", "ConnectRequest"], ["<", "ConnectResponse"]]
    assert titles[-2:] == [[">", "closeSession"], ["<", "closeSession"]]
    assert [">", "getChildren2"] in titles or [">", "getChildren"] in titles
