"""Sessions over lost connections: resumed, refused, expired, kept by pings, and taken over."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import zkwire
from tests.conftest import External
from tests.support.behind import RECEIVED, SENT, behind, held, outcome
from tests.support.live import CONNECTED, DISCONNECTED, EXPIRED, reached
from tests.support.real.servers import Distribution, Server
from zkwire import (
    ConnectionLossError,
    CreateMode,
    EventType,
    KeeperState,
    NoServerError,
    OpCode,
    SessionExpiredError,
    SessionInfo,
)
from zkwire.client.call import Call
from zkwire.frames import frame
from zkwire.jute import encode
from zkwire.records import AuthPacket, ConnectRequest, ConnectResponse, SetWatches
from zkwire.tap.tap import Tap, When, cut
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import DROP, PASS, Action, Replace, frame_number, reply_to, request


@pytest.mark.rule(6, 7)
async def test_resume_asks_for_the_users_timeout_not_for_the_clamped_one(zookeeper: Server | External) -> None:
    async with behind(zookeeper, 100.0) as at:
        assert at.zk.session_timeout == 60.0, "these servers grant that at most"
        await at.zk.exists("/")
        session_id = at.zk.session_id
        await at.cut()
        await at.zk.sync()
        first, second = (at.of(connection, SENT)[0].record for connection in (0, 1))
        assert isinstance(second, ConnectRequest)
        assert (first.time_out, second.time_out) == (100_000, 100_000)
        assert (first.session_id, second.session_id) == (0, session_id)
        assert second.last_zxid_seen > 0
        assert second.passwd == at.zk.session.password


@pytest.mark.rule(11)
async def test_nothing_follows_the_connect_request_until_it_is_answered(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, auth=[("digest", b"a:b")]) as at:
        await at.zk.create(root)
        await at.zk.get_data_and_watch(root)
        with held(at, frame_number(RECEIVED, 0)) as fault:
            await at.cut()
            call = at.zk.exists(root)
            await fault.wait()
            await wait_all_tasks_blocked(0.05)
            assert [each.is_handshake for each in at.of(1, SENT)] == [True]
        await outcome(call)


@pytest.mark.rule(12, 16)
async def test_auths_come_first_on_every_new_connection_then_watches_then_requests(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, auth=[("digest", b"first:1"), ("digest", b"second:2")]) as at:
        await at.zk.create(root)
        await at.zk.add_auth("digest", b"third:3")
        *_, watch = await at.zk.get_data_and_watch(root)
        for connection in (1, 2):
            async with at.parted():
                call = at.zk.get_children(root)
            await call
            handshake, *auths, watches, user = at.of(connection, SENT)
            assert handshake.is_handshake
            assert [each.record for each in auths] == [
                AuthPacket(0, "digest", secret) for secret in (b"first:1", b"second:2", b"third:3")
            ]
            assert isinstance(watches.record, SetWatches)
            assert user.opcode is OpCode.GET_CHILDREN
        assert {each.user for each in await at.zk.who_am_i()} >= {"first", "second", "third"}
        assert watch.event is None


@pytest.mark.rule(13)
async def test_connected_is_announced_after_the_last_auth_reply(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper, auth=[("digest", b"first:1"), ("digest", b"second:2")]) as at:
        with held(at, reply_to(OpCode.AUTH), skip=1) as fault:
            await at.cut()
            await fault.wait()
            call = at.zk.exists(root)
            await wait_all_tasks_blocked(0.05)
            assert at.zk.state is DISCONNECTED
            assert at.all(request(OpCode.EXISTS)) == []
        assert await call is None
        assert at.zk.state is CONNECTED


@pytest.mark.rule(15)
async def test_connection_lost_during_auth_is_a_loss_and_no_auth_failure(zookeeper: Server | External) -> None:
    async with behind(zookeeper, auth=[("digest", b"a:b")]) as at:
        fault = cut(before=reply_to(OpCode.AUTH), times=3)
        at.fault = fault
        await at.cut()
        await fault.wait(3)
        await at.zk.sync()
        assert at.zk.state is CONNECTED


@pytest.mark.rule(3)
async def test_connect_response_without_the_read_only_byte_is_accepted(zookeeper: Server | External, root: str) -> None:
    def shorten(seen: SeenFrame) -> Action:
        assert len(seen.frame.payload) == 37
        return Replace(frame(seen.frame.payload[:-1]))

    fault = When(frame_number(RECEIVED, 0), shorten, times=None)
    async with behind(zookeeper, fault=fault) as at:
        session_id = at.zk.session_id
        await at.cut()
        assert await at.zk.exists(root) is None
        assert (at.zk.session_id, len(fault.hits)) == (session_id, 2)


async def _end_session(server: Server | External, session: SessionInfo) -> None:
    """Close the session from elsewhere."""
    async with zkwire.connect(server.address, session=session):
        pass


@pytest.mark.rule(8, 28)
async def test_refused_resume_fails_what_waits_and_a_new_session_follows(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        states = at.zk.states()
        old = at.zk.session
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        bound = at.zk.bound()
        async with at.parted():
            await _end_session(zookeeper, old)
            calls: list[Call[Any]] = [
                at.zk.set_data(root, b"never"),
                at.zk.create(f"{root}-never"),
                bound.exists(root),
            ]
        errors = [await outcome(call) for call in calls]
        assert [type(error) for error in errors] == [SessionExpiredError] * 3
        await reached(at.zk, CONNECTED)
        assert await at.zk.exists(root) is None
        assert await at.zk.exists(f"{root}-never") is None
        assert at.zk.session_id not in (0, old.id)
        assert [await states.__anext__() for _ in range(4)] == [CONNECTED, DISCONNECTED, EXPIRED, CONNECTED]
        with pytest.raises(SessionExpiredError):
            bound.sync()  # a bound client does not cross over
        refused = at.of(1, RECEIVED)[0].record
        assert isinstance(refused, ConnectResponse)
        assert (refused.time_out, refused.session_id, refused.passwd) == (0, 0, bytes(16))
        fresh = at.of(2, SENT)[0].record
        assert (fresh.session_id, fresh.last_zxid_seen) == (0, 0)


@pytest.mark.rule(8, 33)
async def test_refused_resume_ends_a_client_that_wants_no_new_session(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper, new_session=False) as at:
        _, watch = await at.zk.exists_and_watch(root)
        async with at.parted():
            await _end_session(zookeeper, at.zk.session)
            call = at.zk.exists(root)
        assert isinstance(await outcome(call), SessionExpiredError)
        assert [state async for state in at.zk.states()] == [EXPIRED]
        with pytest.raises(SessionExpiredError):
            at.zk.exists(root)
        assert (await watch.wait())[:2] == (EventType.NONE, EXPIRED)
        assert at.tap.accepted == 2


@pytest.mark.rule(9)
async def test_another_session_in_the_answer_to_a_resume_is_expiry(zookeeper: Server | External, root: str) -> None:
    def another(seen: SeenFrame) -> Action:
        record = seen.record
        return Replace(frame(encode(record.replace(session_id=record.session_id + 1))))

    async with behind(zookeeper) as at:
        old = at.zk.session_id
        states = at.zk.states()
        async with at.parted():
            at.fault = When(frame_number(RECEIVED, 0), another)
            call = at.zk.create(root)
        assert isinstance(await outcome(call), SessionExpiredError)
        await reached(at.zk, CONNECTED)
        assert await at.zk.exists(root) is None
        assert at.zk.session_id != old
        assert [await states.__anext__() for _ in range(4)] == [CONNECTED, DISCONNECTED, EXPIRED, CONNECTED]


@pytest.mark.rule(40)
async def test_session_expires_without_a_servers_word_while_a_host_accepts_and_never_answers(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 1.5) as at:
        assert at.zk.session_timeout == 1.5
        old = at.zk.session_id
        _, watch = await at.zk.exists_and_watch(root)
        began = trio.current_time()
        at.tap.black_hole()
        await at.cut()
        call = at.zk.exists(root)
        with trio.fail_after(12):
            assert isinstance(await outcome(call), SessionExpiredError)
        assert trio.current_time() - began > 1.7, "4/3 of the timeout is 2 s"
        assert at.tap.accepted >= 2, "it was dialled meanwhile"
        assert (await watch.wait()).state is EXPIRED
        await at.heal()
        await reached(at.zk, CONNECTED)
        assert await at.zk.exists(root) is None
        assert at.zk.session_id != old


@pytest.mark.rule(37)
async def test_silent_server_is_noticed_after_two_thirds_of_the_timeout(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 3.0) as at:
        began = trio.current_time()
        await at.zk.sync()
        at.tap.partition()
        call = at.zk.exists(root)
        error = await outcome(call)
        assert isinstance(error, ConnectionLossError)
        assert "2/3" in error.cause
        assert 1.9 < trio.current_time() - began < 10
        await at.heal()


@pytest.mark.rule(36)
async def test_idle_session_is_kept_by_pings(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper, 1.5) as at:
        session_id = at.zk.session_id
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        pings = When(reply_to(OpCode.PING), PASS, times=None)
        at.fault = pings
        await pings.wait(5)  # every 0.5 s
        assert (at.zk.session_id, at.tap.accepted) == (session_id, 1)
        assert await at.other.exists(root) is not None


@pytest.mark.rule(37, 41)
@pytest.mark.parametrize("how", ["partition", "black hole"])
async def test_next_server_is_reached_within_the_timeout_and_the_session_lives(
    zookeeper: Server | External, root: str, how: str
) -> None:
    with trio.fail_after(60):
        async with Tap(zookeeper.address) as one, Tap(zookeeper.address) as two:
            taps = [one, two]
            hosts = f"{one.address},{two.address}"
            async with zkwire.connect(hosts, 9.0, connect_timeout=20) as zk:
                session_id = zk.session_id
                await zk.create(root, mode=CreateMode.EPHEMERAL)
                used = next(tap for tap in taps if tap.accepted)
                spare = next(tap for tap in taps if tap is not used)
                lost = zk.sync()
                if how == "partition":
                    used.partition()
                else:
                    used.black_hole()
                    used.cut()
                assert isinstance(await outcome(lost), ConnectionLossError)
                noticed = trio.current_time()
                await zk.sync()
                assert (used.accepted, spare.accepted) == (1, 1), "the lost one is not tried first"
                assert trio.current_time() - noticed < 3.0
                assert zk.session_id == session_id
                assert await zk.exists(root) is not None


@pytest.mark.rule(41)
async def test_hosts_that_never_answer_are_all_tried_within_the_timeout(zookeeper: Server | External) -> None:
    with trio.fail_after(60):
        async with Tap(zookeeper.address) as one, Tap(zookeeper.address) as two, Tap(zookeeper.address) as three:
            taps = [one, two, three]
            for tap in taps:
                tap.black_hole()
            with pytest.raises(NoServerError) as caught:
                async with zkwire.connect(",".join(tap.address for tap in taps), 3.0, connect_timeout=4.5):
                    pass
            assert all(tap.accepted for tap in taps)
            assert all(tap.address in str(caught.value) for tap in taps)


@pytest.mark.rule(13, 16)
async def test_reply_to_auth_that_is_lost_at_a_reconnect_costs_one_attempt(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 6.0, auth=[("digest", b"a:b")]) as at:
        session_id = at.zk.session_id
        at.fault = When(reply_to(OpCode.AUTH), DROP)
        await at.cut()
        began = trio.current_time()
        await at.zk.sync()
        assert at.zk.session_id == session_id
        assert at.tap.accepted == 3, "the attempt without a reply, and the next"
        assert trio.current_time() - began >= 2.0 - 0.1, "a third of the timeout, which is its share"


@pytest.mark.rule(16)
async def test_reply_to_add_auth_that_is_lost_comes_on_the_next_connection(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper, 3.0) as at:
        session_id = at.zk.session_id
        at.fault = When(reply_to(OpCode.AUTH), DROP)
        await at.zk.add_auth("digest", b"a:b")
        assert (at.zk.session_id, at.tap.accepted) == (session_id, 2)
        assert "a" in {identity.user for identity in await at.zk.who_am_i()}


@pytest.mark.rule(44)
async def test_session_taken_over_comes_back_when_the_other_leaves_it(zookeeper: Server | External, root: str) -> None:
    async with behind(zookeeper) as at:
        session = at.zk.session
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        at.tap.refuse()  # else the two would take it from each other for ever
        async with zkwire.connect(zookeeper.address, session=session) as thief:
            assert thief.session_id == session.id
            await reached(at.zk, DISCONNECTED)
            await thief.set_data(root, b"theirs")
            thief.detach()
        await at.heal()
        data, stat = await at.zk.get_data(root)
        assert (data, stat.ephemeral_owner, at.zk.session_id) == (b"theirs", session.id, session.id)


@pytest.mark.rule(45)
async def test_session_lives_on_when_somebody_tries_it_with_a_wrong_password(
    zookeeper: Server | External, root: str
) -> None:
    async with behind(zookeeper) as at:
        session = at.zk.session
        await at.zk.create(root, mode=CreateMode.EPHEMERAL)
        states = at.zk.states()
        with pytest.raises(SessionExpiredError):
            async with zkwire.connect(
                zookeeper.address, session=SessionInfo(session.id, b"wrong" + bytes(11)), new_session=False
            ):
                pass
        assert [await states.__anext__() for _ in range(3)] == [CONNECTED, DISCONNECTED, CONNECTED]
        _, stat = await at.zk.get_data(root)
        assert (stat.ephemeral_owner, at.zk.session_id) == (session.id, session.id)


@pytest.mark.rule(46)
@pytest.mark.parametrize("how", ["partition", "cut"])
async def test_leaving_the_block_ends_soon_when_close_session_gets_no_reply(
    zookeeper: Server | External, how: str
) -> None:
    async with Tap(zookeeper.address) as tap:
        began = trio.current_time()
        with trio.fail_after(30):
            async with zkwire.connect(tap.address, 20.0) as zk:
                if how == "partition":
                    tap.partition()
                else:
                    tap.fault = cut(before=request(OpCode.CLOSE_SESSION))
                began = trio.current_time()
        assert zk.state is KeeperState.CLOSED
        assert trio.current_time() - began < 6, "2 s at most, and the silence limit is 13 s"


@pytest.mark.rule(10, 54)
async def test_session_ephemerals_and_watches_outlive_a_crash_of_the_server(
    distribution: Distribution, root: str
) -> None:
    with Server(distribution) as server, trio.fail_after(90):
        async with zkwire.connect(server.address, 30.0) as zk:
            session_id = zk.session_id
            await zk.create(root, b"one", mode=CreateMode.EPHEMERAL)
            *_, watch = await zk.get_data_and_watch(root)
            states = zk.states()
            server.kill()
            assert [await states.__anext__() for _ in range(2)] == [CONNECTED, DISCONNECTED]
            call = zk.set_data(root, b"two", version=0)
            await trio.to_thread.run_sync(server.start)
            assert (await call).version == 1
            assert watch.event is not None, "the event came before the reply"
            data, stat = await zk.get_data(root)
            assert (data, stat.ephemeral_owner, zk.session_id) == (b"two", session_id, session_id)
