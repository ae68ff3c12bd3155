"""Lost connections and new ones: what fails, what waits, pauses, expiry, and read-only servers."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import zkwire
from tests.support.fake.memory import MemoryServers, ServerSide, refuse, silent, unreachable
from tests.support.fake.scripts import HOST, Hosts, connect, freeze, granting, hold, shake_and_go, until
from tests.support.fake.wire import STAT
from zkwire import (
    ConnectionLossError,
    EventType,
    KeeperState,
    NoServerError,
    OpCode,
    SessionExpiredError,
    SessionInfo,
    WatchedEvent,
)
from zkwire.client.transport import StreamTransport, Transport
from zkwire.records import GetDataResponse

# --- losing and finding connections


@pytest.mark.rule(38)
async def test_end_of_the_stream_fails_every_waiter_at_once_in_order(autojump_clock: MockClock) -> None:
    async def read_two_and_close(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        await conversation.read()
        await conversation.read()

    ended: list[tuple[str, str, float]] = []
    async with connect(MemoryServers(read_two_and_close, silent)) as zk, trio.open_nursery() as nursery:

        async def ask(path: str) -> None:
            try:
                await zk.set_data(path, b"")
            except ConnectionLossError as error:
                ended.append((error.path or "", error.written, trio.current_time()))

        began = trio.current_time()
        nursery.start_soon(ask, "/a")
        nursery.start_soon(ask, "/b")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.deadline = began + 5
    assert sorted(ended) == [("/a", "in full", began), ("/b", "in full", began)]


@pytest.mark.rule(29, 30)
async def test_requests_made_while_disconnected_wait_and_go_out_in_order(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(lose, ServerSide.serve)
    async with connect(servers) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        calls = [zk.set_data(f"/{number}", b"") for number in range(5)]
        for call in calls:
            await call
        assert [got.record.path for got in servers.requests] == [f"/{number}" for number in range(5)]
        assert servers.conversations[1].connect_request is not None
        assert servers.conversations[1].connect_request.session_id == zk.session_id


@pytest.mark.rule(36)
async def test_idle_client_pings_once_per_third_of_the_timeout(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    async with connect(servers, timeout=9.0):
        await trio.sleep(60.5)
        assert len(servers.requests) == 20
        assert {got.opcode for got in servers.requests} == {OpCode.PING}


@pytest.mark.rule(37)
async def test_silent_server_is_left_after_two_thirds_of_the_timeout(autojump_clock: MockClock) -> None:
    servers = MemoryServers(hold, ServerSide.serve)
    async with connect(servers, "10.0.0.1,10.0.0.2", timeout=9.0) as zk:
        began = trio.current_time()
        states = zk.states()
        assert [await states.__anext__() for _ in range(3)] == [
            KeeperState.SYNC_CONNECTED,
            KeeperState.DISCONNECTED,
            KeeperState.SYNC_CONNECTED,
        ]
        assert servers.dialled[1][0] - began == pytest.approx(6.0, abs=0.2)


@pytest.mark.rule(40)
async def test_session_expires_locally_while_servers_accept_and_never_answer(autojump_clock: MockClock) -> None:
    async def once(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(once, silent)
    async with connect(servers, timeout=9.0, new_session=False) as zk:
        began = trio.current_time()
        await until(zk, KeeperState.DISCONNECTED)
        with pytest.raises(SessionExpiredError):
            await zk.get_data("/a")
        assert trio.current_time() - began == pytest.approx(12.0)
        assert zk.state is KeeperState.EXPIRED
        assert [state async for state in zk.states()] == [KeeperState.EXPIRED]
        with pytest.raises(SessionExpiredError):
            zk.get_data("/a")


@pytest.mark.rule(8, 28)
async def test_new_session_follows_an_expired_one_and_takes_nothing_over(autojump_clock: MockClock) -> None:
    async def lose(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await conversation.reply(got, GetDataResponse(b"", STAT), zxid=77)

    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(lose, expired, ServerSide.serve)
    async with connect(servers) as zk:
        first = zk.session_id
        bound = zk.bound()
        _, _, watch = await zk.get_data_and_watch("/a")
        assert zk.last_zxid == 77
        await until(zk, KeeperState.DISCONNECTED)
        with pytest.raises(SessionExpiredError):
            await zk.get_data("/b")
        retried = zk.get_data("/b")
        assert (await watch.wait()) == WatchedEvent(EventType.NONE, KeeperState.EXPIRED, "/a", -1)
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert zk.session_id != first
        last = servers.conversations[-1].connect_request
        assert last is not None
        assert (last.session_id, last.last_zxid_seen) == (0, 0)
        assert (await retried)[0] == b"/b"
        assert bound.expired
        assert bound.last_answered(math.inf) is None
        assert zk.last_answered(math.inf) == zk.bound().last_answered(math.inf) == trio.current_time()
        with pytest.raises(SessionExpiredError):
            bound.get_data("/c")


@pytest.mark.rule(42)
async def test_pause_between_rounds_grows_to_three_seconds_and_is_jittered(autojump_clock: MockClock) -> None:
    servers = MemoryServers(refuse)
    with pytest.raises(NoServerError):
        async with connect(servers, connect_timeout=600):
            pass
    times = [when for when, _ in servers.dialled]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] <= 0.05
    assert max(pauses) <= 3.0
    assert min(pauses[8:]) >= 1.5
    assert len({round(pause, 3) for pause in pauses[8:]}) > len(pauses[8:]) / 2


@pytest.mark.rule(42)
@pytest.mark.parametrize(("lasts", "least", "most"), [(1.0, 1.5, 3.0), (5.1, 0.0, 0.1)])
async def test_pause_starts_over_only_when_a_session_has_lasted_for_a_while(
    lasts: float, least: float, most: float, autojump_clock: MockClock
) -> None:
    async def lose_after_a_session(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        await trio.sleep(lasts)

    servers = MemoryServers(*[refuse] * 12, lose_after_a_session, *[refuse] * 12, ServerSide.serve)
    async with connect(servers, connect_timeout=600, timeout=600):
        await trio.sleep(60)
    times = [when for when, _ in servers.dialled]
    assert times[12] - times[11] >= 1.5, "a connection alone does not start it over"
    assert least <= times[13] - times[12] - lasts <= most


async def test_hosts_are_tried_in_random_order(autojump_clock: MockClock) -> None:
    firsts = set()
    for _ in range(40):
        servers = MemoryServers()
        async with connect(servers, "10.0.0.1,10.0.0.2,10.0.0.3"):
            firsts.add(servers.dialled[0][1])
    assert firsts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


async def test_resumed_session_refused_is_an_error_when_no_new_one_is_wanted(autojump_clock: MockClock) -> None:
    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    with pytest.raises(SessionExpiredError):
        async with connect(MemoryServers(expired), session=SessionInfo(5, bytes(16)), new_session=False):
            pass


# --- read-only mode


async def test_read_only_client_moves_to_a_read_write_server_when_one_answers(autojump_clock: MockClock) -> None:
    async def read_only(conversation: ServerSide) -> None:
        await conversation.shake_hands(read_only=True)
        await conversation.serve_on()

    async def says_ro(conversation: ServerSide) -> None:
        assert await conversation.stream.receive_some(4) == b"isro"
        await conversation.stream.send_all(b"ro")

    async def says_rw(conversation: ServerSide) -> None:
        assert await conversation.stream.receive_some(4) == b"isro"
        await conversation.stream.send_all(b"rw")

    async def read_write(conversation: ServerSide) -> None:
        await conversation.shake_hands(read_only=False)
        await conversation.serve_on()

    async def hangs_up(conversation: ServerSide) -> None:
        pass

    servers = MemoryServers(read_only, says_ro, hangs_up, says_rw, read_write)
    async with connect(servers, read_only=True) as zk:
        assert zk.state is KeeperState.CONNECTED_READ_ONLY
        states = zk.states()
        assert [await states.__anext__() for _ in range(3)] == [
            KeeperState.CONNECTED_READ_ONLY,
            KeeperState.DISCONNECTED,
            KeeperState.SYNC_CONNECTED,
        ]
        request = servers.conversations[-1].connect_request
        assert request is not None
        assert request.session_id == 0, "a read-only server's session is not resumed (rule 17)"


# --- new sessions, and the last words of a server


async def test_new_session_does_not_wait_for_the_dial_of_the_old_one(autojump_clock: MockClock) -> None:
    async def once(conversation: ServerSide) -> None:
        await conversation.shake_hands()

    servers = MemoryServers(once, ServerSide.serve)
    dials = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal dials
        dials += 1
        return await (unreachable if 2 <= dials <= 5 else servers.dial)(address, port, host_name)

    async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
        await until(zk, KeeperState.DISCONNECTED)
        began = trio.current_time()
        await until(zk, KeeperState.EXPIRED)
        await until(zk, KeeperState.SYNC_CONNECTED)
        assert dials == 6
        assert 12.0 <= trio.current_time() - began <= 13.5, "4/3 of the timeout, and a pause"


async def test_server_that_refuses_every_session_is_asked_ever_more_rarely(autojump_clock: MockClock) -> None:
    async def expired(conversation: ServerSide) -> None:
        await conversation.shake_hands(time_out=0, session_id=0)

    servers = MemoryServers(expired)
    with pytest.raises(NoServerError, match="the server does not know the session"):
        async with connect(servers, connect_timeout=60):
            pass
    assert 20 <= len(servers.dialled) <= 60


async def test_last_words_of_a_server_are_heard_after_a_write_to_it_failed(autojump_clock: MockClock) -> None:
    class OneWay(StreamTransport):
        """Takes nothing any more, and still has something to read."""

        broken = False

        async def drain(self) -> None:
            if self.broken:
                raise trio.BrokenResourceError from OSError("broken pipe")
            await super().drain()

    ours, theirs = trio.testing.memory_stream_pair()
    transport = OneWay(ours)
    servers = MemoryServers()
    conversation = ServerSide(servers, theirs, "")
    dials = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal dials
        dials += 1
        return transport if dials == 1 else await servers.dial(address, port, host_name)

    async def answer_late() -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        assert got is not None
        await trio.sleep(1.1)
        await conversation.answer(got)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_late)
        async with zkwire.connect(HOST, 9.0, dial=dial) as zk:
            first = zk.get_data("/first")
            await trio.sleep(1)
            transport.broken = True
            second = zk.get_data("/second")
            assert (await first)[0] == b"/first"
            assert (await second)[0] == b"/second", "it never left, and goes out on the next connection"


# --- a server that comes back, and sessions that do not last


@pytest.mark.rule(42)
@pytest.mark.parametrize(("timeout", "away"), [(4.0, 2.7), (4.0, 3.0), (9.0, 6.5), (30.0, 22.0)])
async def test_server_that_comes_back_with_a_quarter_of_the_timeout_left_is_found_in_time(
    timeout: float, away: float, autojump_clock: MockClock
) -> None:
    hosts = Hosts(h1=MemoryServers(granting(timeout, freeze)))
    found: list[float] = []
    attempts = 0

    async def dial(address: str, port: int, host_name: str) -> Transport:
        nonlocal attempts
        attempts += 1
        return await hosts.dial(address, port, host_name)

    async def run_client() -> None:
        async with zkwire.connect("10.0.0.1", timeout, dial=dial) as zk:
            session_id = zk.session_id
            await until(zk, KeeperState.DISCONNECTED)
            lost = trio.current_time()
            await until(zk, KeeperState.SYNC_CONNECTED)
            assert zk.session_id == session_id
            found.append(trio.current_time() - lost)

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(run_client)
        await trio.testing.wait_all_tasks_blocked()
        hosts.up, before = set(), attempts
        for conversation in hosts.servers["10.0.0.1"].conversations:
            await conversation.stream.aclose()
        hosts.servers["10.0.0.1"].scripts = [granting(timeout)]
        await trio.sleep(away)
        assert attempts - before <= 30 * (6 + away / (timeout / 16)), "no storm"
        hosts.all_up()
    assert len(found) == 30
    assert max(found) <= away + timeout / 8


async def test_pause_grows_to_three_seconds_where_no_session_is_at_stake(autojump_clock: MockClock) -> None:
    servers = MemoryServers(refuse)
    with pytest.raises(NoServerError):
        async with connect(servers, timeout=4.0, connect_timeout=120):
            pass
    assert len(servers.dialled) < 120 / 1.5


@pytest.mark.rule(42)
async def test_session_that_is_cut_again_and_again_makes_pauses_grow_and_is_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    servers = MemoryServers(shake_and_go)
    reasons: list[str] = []
    async with connect(servers, timeout=10.0) as zk, trio.open_nursery() as nursery:

        async def note_reasons() -> None:
            states = zk.states()
            async for state in states:
                if state is KeeperState.DISCONNECTED:
                    reasons.append(states.reason)

        nursery.start_soon(note_reasons)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
        assert zk.session_id == 0x101, "it is one session all the while"
    assert len(servers.dialled) <= 45, "less than one a second"
    times = [when for when, _ in servers.dialled]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 2.5, "a quarter of the session timeout"
    assert reasons[0] == "the server closed the connection"
    assert re.fullmatch(
        r"the server closed the connection, 0 s after the session was connected there; "
        r"5 connections in a row ended so soon",
        reasons[4],
    )
    warnings = [record for record in caplog.records if record.name == "zkwire"]
    assert [record.levelname for record in warnings] == ["WARNING"] * 4, "at 3, 6, 12 and 24"
    assert "session 0x101: the server closed the connection, 0 s after" in warnings[0].getMessage()
    assert "3 connections in a row" in warnings[0].getMessage()


async def test_request_lost_again_and_again_is_told_how_often_in_its_error(autojump_clock: MockClock) -> None:
    async def read_one_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        await conversation.read()

    async with connect(MemoryServers(read_one_and_go)) as zk:
        for _ in range(3):
            with pytest.raises(ConnectionLossError) as caught:
                await zk.get_data("/a")
    assert "3 connections in a row ended so soon" in str(caught.value)


@pytest.mark.rule(42, 44)
async def test_two_clients_on_one_session_take_it_from_each_other_slowly(autojump_clock: MockClock) -> None:
    servers = MemoryServers()
    owner: ServerSide | None = None

    async def evict(conversation: ServerSide) -> None:
        nonlocal owner
        await conversation.shake_hands()
        before, owner = owner, conversation
        if before is not None:
            await before.stream.aclose()
        await conversation.serve_on()

    servers.scripts = [evict]
    async with connect(servers, timeout=10.0) as zk, connect(servers, timeout=10.0, session=zk.session) as other:
        await trio.sleep(10)  # pauses grow
        before = len(servers.dialled)
        await trio.sleep(100)
        assert len(servers.dialled) - before <= 100, "one a second by the two of them"
        assert zk.session_id == other.session_id
        other.detach()
        await trio.sleep(5)
        assert zk.state is KeeperState.SYNC_CONNECTED
        before = len(servers.dialled)
        await trio.sleep(60)
        assert len(servers.dialled) == before


@pytest.mark.rule(42)
async def test_connection_that_served_before_it_was_cut_makes_pauses_grow_slowly(autojump_clock: MockClock) -> None:
    async def answer_one_and_go(conversation: ServerSide) -> None:
        await conversation.shake_hands()
        got = await conversation.read()
        if got is not None:
            await conversation.answer(got)

    servers = MemoryServers(answer_one_and_go)

    async def keep_asking() -> None:
        while True:
            await zk.get_data("/a")
            await until(zk, KeeperState.DISCONNECTED)

    async with connect(servers, timeout=10.0) as zk, trio.open_nursery() as nursery:
        nursery.start_soon(keep_asking)
        await trio.sleep(5)
        assert len(servers.dialled) > 50, "it is of use"
        await trio.sleep(295)
        before = len(servers.dialled)
        await trio.sleep(60)
        assert len(servers.dialled) - before <= 45, "but not for ever"
        nursery.cancel_scope.cancel()


async def test_states_say_why_the_state_is_what_it_is_from_the_first_on(autojump_clock: MockClock) -> None:
    async with connect(MemoryServers(shake_and_go, silent), new_session=False) as zk:
        states = zk.states()
        assert (await anext(states), states.reason) == (KeeperState.SYNC_CONNECTED, "")
        assert (await anext(states), states.reason) == (KeeperState.DISCONNECTED, "the server closed the connection")
        later = zk.states()
        assert (await anext(later), later.reason) == (KeeperState.DISCONNECTED, "the server closed the connection")
        assert await anext(states) is KeeperState.EXPIRED
        assert "no valid frame for 12 s" in states.reason


@pytest.mark.rule(42)
async def test_server_that_calls_itself_read_write_and_gives_no_session_makes_no_storm(
    autojump_clock: MockClock,
) -> None:
    async def read_only(conversation: ServerSide) -> None:
        first = await conversation.stream.receive_some(4)
        if first == b"isro":
            await conversation.stream.send_all(b"ro")
            return
        conversation.unread(bytes(first))
        await conversation.shake_hands(read_only=True)
        await conversation.serve_on()

    async def lie(conversation: ServerSide) -> None:
        if await conversation.stream.receive_some(4) == b"isro":
            await conversation.stream.send_all(b"rw")

    hosts = Hosts("h1", h1=MemoryServers(read_only), h2=MemoryServers(lie))
    async with zkwire.connect(hosts.connect_string, 10.0, read_only=True, dial=hosts.dial) as zk:
        hosts.all_up()
        await trio.sleep(100)
        assert len(hosts.servers["10.0.0.1"].dialled) <= 80, "less than one a second"
        assert zk.session_timeout == 10.0
