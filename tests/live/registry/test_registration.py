"""Registrations over everything that can happen to a session, on real servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

import zkwire
from election.errors import RegistryError
from election.registry import registration as module
from election.registry.layouts.curator import ServiceInstance, ServiceType
from election.registry.layouts.serverset import Endpoint, ServersetMember, decode_member
from election.registry.registration import Registration
from election.registry.registry import Registry
from tests.conftest import External
from tests.support.behind import Line, expire, heal, on_line, part
from tests.support.live import PATIENCE, client, reached, sent, until_gone, watched_paths
from tests.support.real.servers import Server
from zkwire import (
    ACL,
    AddWatchMode,
    Client,
    ClosedError,
    Create,
    CreateMode,
    Delete,
    Direction,
    EventType,
    Frame,
    Id,
    KeeperState,
    LocalProtocolError,
    NoAuthError,
    OpCode,
    Perms,
    SessionExpiredError,
    Stat,
)
from zkwire.tap.tap import Tap, When
from zkwire.tap.tap import cut as cutting
from zkwire.traffic.faults import Cut, Delay, reply_to, request

NAME = "127.0.0.1:8897"
CREATES = (OpCode.CREATE, OpCode.CREATE2)


async def placed(zk: Client, path: str, fits: Callable[[Stat], bool] = lambda stat: True) -> Stat:
    """Wait until the znode is there, and fits."""
    with trio.fail_after(PATIENCE):
        while True:
            stat, watch = await zk.exists_and_watch(path)
            async with watch:
                if stat is not None and fits(stat):
                    return stat
                await watch.wait()


async def standing(registration: Registration) -> str:
    """Wait until the registration knows that its znode is there."""
    with trio.fail_after(PATIENCE):
        while registration.node is None:
            await registration._moved.wait()
    return registration.node


# --- registering


@pytest.mark.rule("D1")
async def test_registration_is_an_ephemeral_of_the_present_session_for_the_length_of_its_block(
    zookeeper: Server | External, root: str
) -> None:
    path = f"{root}/deep/{NAME}"
    async with client(zookeeper) as other, client(zookeeper) as zk:
        async with Registry(zk, root + "/deep").register(NAME, b"data") as registration:
            await other.sync()
            data, stat = await other.get_data(path)
            assert (data, stat.ephemeral_owner) == (b"data", zk.session_id)
            assert (registration.node, registration.data) == (path, b"data")
        await other.sync()
        assert await other.exists(path) is None
        assert registration.node is None
        assert await other.exists(root + "/deep") is not None


async def test_acl_of_a_registration_is_the_one_that_was_given(zookeeper: Server | External, root: str) -> None:
    acl = list(zkwire.OPEN_ACL_UNSAFE)
    async with client(zookeeper) as zk:
        registering = Registry(zk, root).register(NAME, acl=acl)
        acl.clear()
        async with registering as registration:
            assert (await zk.get_acl(await standing(registration)))[0] == list(zkwire.OPEN_ACL_UNSAFE)


@pytest.mark.rule("D1")
async def test_after_expiry_the_registration_is_there_again_with_one_create(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with (
        client(zookeeper) as other,
        on_line(zookeeper, on_frame=frames.append) as (zk, line),
        Registry(zk, root).register(NAME, b"data") as registration,
    ):
        before = len(frames)
        for _ in range(2):
            await expire(zk, line, zookeeper)
            former = zk.session_id
            await placed(other, f"{root}/{NAME}", lambda stat, former=former: stat.ephemeral_owner != former)  # type: ignore[misc]
            await standing(registration)
            data, stat = await other.get_data(f"{root}/{NAME}")
            assert (data, stat.ephemeral_owner) == (b"data", zk.session_id)
        assert len(sent(frames[before:], *CREATES)) == 2


@pytest.mark.rule("D2")
async def test_reconnect_within_the_session_shows_watchers_no_event(zookeeper: Server | External, root: str) -> None:
    async with (
        client(zookeeper) as other,
        on_line(zookeeper) as (zk, line),
        Registry(zk, root).register(NAME) as registration,
        other.add_watch(root, AddWatchMode.PERSISTENT_RECURSIVE) as events,
    ):
        session = zk.session_id
        for _ in range(3):
            await part(zk, line)
            await heal(zk, line)
        await standing(registration)
        assert zk.session_id == session
        await other.set_data(root, b"after everything else")
        await zk.set_data(root, b"and after all that the registration sent")
        seen = [await events.__anext__() for _ in range(2)]
        assert [(event.type, event.path) for event in seen] == [(EventType.NODE_DATA_CHANGED, root)] * 2


@pytest.mark.rule("D3")
async def test_deleted_from_outside_it_is_created_again_once_per_step_of_the_backoff(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    path = f"{root}/{NAME}"
    async with (
        client(zookeeper) as other,
        client(zookeeper, on_frame=frames.append) as zk,
        Registry(zk, root).register(NAME, b"data") as registration,
    ):
        before = len(frames)
        for step in range(4):
            former = await placed(other, path)
            await other.delete(path)
            await placed(other, path, lambda stat, former=former: stat.czxid > former.czxid)  # type: ignore[misc]
            if step == 1:
                await registration.update(b"new")
        assert (await other.get_data(path))[0] == b"new"
        assert registration.node == path
    creates = [frame.now for frame in frames[before:] if frame.opcode in CREATES and frame.direction is Direction.SENT]
    gone = [frame.now for frame in frames[before:] if frame.opcode is None and b"\0\0\0\2" in frame.payload[16:20]]
    assert len(creates) == len(gone) == 4
    # Each pause is at least twice the one before; how much longer it took depends on the machine.
    for index, (deleted, created) in enumerate(zip(gone, creates)):
        assert created - deleted >= module.FIRST_PAUSE * 2**index * 0.99


async def test_parent_deleted_from_outside_is_created_again_too(zookeeper: Server | External, root: str) -> None:
    async with (
        client(zookeeper) as other,
        client(zookeeper) as zk,
        Registry(zk, f"{root}/a/b").register(NAME),
    ):
        for path in (f"{root}/a/b/{NAME}", f"{root}/a/b", f"{root}/a", root):
            await other.delete(path)
        await placed(other, f"{root}/a/b/{NAME}")


async def test_serverset_member_gets_its_digits(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk, Registry(zk, root, "serverset").register("h1:1") as registration:
        assert registration.node == f"{root}/member_0000000000"
        await registration.update(ServersetMember(Endpoint("h1", 1), shard=7))
        assert decode_member((await zk.get_data(registration.node))[0]).shard == 7


async def test_curator_instance_is_registered_under_its_id(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        registry = Registry(zk, root + "/daytime", "curator")
        async with registry.register(ServiceInstance("daytime", "one", "h1", 1)) as registration:
            assert registration.node == f"{root}/daytime/one"
            await registration.update(b"payload")
            assert b'"payload":"payload"' in ((await zk.get_data(registration.node))[0] or b"")
        sequential = ServiceInstance("daytime", "two-", service_type=ServiceType.DYNAMIC_SEQUENTIAL)
        async with registry.register(sequential) as registration:
            assert registration.node == f"{root}/daytime/two-0000000001"


@pytest.mark.parametrize("path", ["services", "/services/", "/", ""])
async def test_registry_needs_a_path_of_its_own(zookeeper: Server | External, path: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(RegistryError, match="a registry needs the path of a znode"):
            Registry(zk, path)


async def test_in_a_chroot(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper, root) as zk:
        await other.create(root)
        async with Registry(zk, "/s").members() as members, Registry(zk, "/s").register(NAME) as registration:
            change = await members.__anext__()
            assert (change.kind, change.member.name, registration.node) == ("added", NAME, f"/s/{NAME}")
            await other.delete(f"{root}/s/{NAME}")
            assert [(await members.__anext__()).kind for _ in range(2)] == ["removed", "added"]


# --- updating


@pytest.mark.rule("D4")
async def test_update_without_a_connection_is_what_the_next_session_registers(
    zookeeper: Server | External, root: str
) -> None:
    line = Line()
    frames: list[Frame] = []
    async with client(zookeeper) as other, client(zookeeper, dial=line.dial, on_frame=frames.append) as zk:
        async with Registry(zk, root).register(NAME, b"old") as registration, trio.open_nursery() as nursery:
            await part(zk, line)
            async with client(zookeeper, session=zk.session):
                pass
            nursery.start_soon(registration.update, b"new")
            await trio.testing.wait_all_tasks_blocked(0.01)
            before = len(frames)
            line.heal()
            await placed(other, f"{root}/{NAME}")
            data, stat = await other.get_data(f"{root}/{NAME}")
            assert (data, stat.version) == (b"new", 0)  # never the old data first
        assert len(sent(frames[before:], OpCode.SET_DATA)) <= 1  # the one that waited for the connection, if at all


@pytest.mark.rule("D4")
async def test_update_made_before_an_expiry_is_registered_after_it(zookeeper: Server | External, root: str) -> None:
    async with (
        client(zookeeper) as other,
        on_line(zookeeper) as (zk, line),
        Registry(zk, root).register(NAME, b"old") as registration,
    ):
        await registration.update(b"new")
        first = zk.session_id
        await expire(zk, line, zookeeper)
        await placed(other, f"{root}/{NAME}", lambda stat: stat.ephemeral_owner != first)
        assert (await other.get_data(f"{root}/{NAME}"))[0] == b"new"


@pytest.mark.rule("D4")
async def test_update_over_a_lost_connection_is_written_in_the_same_session(
    zookeeper: Server | External, root: str
) -> None:
    async with (
        client(zookeeper) as other,
        on_line(zookeeper) as (zk, line),
        Registry(zk, root).register(NAME, b"old") as registration,
    ):
        stat = await placed(other, f"{root}/{NAME}")
        async with trio.open_nursery() as nursery:
            await part(zk, line)
            nursery.start_soon(registration.update, b"new")
            await trio.testing.wait_all_tasks_blocked(0.01)
            line.heal()
        await other.sync()
        data, after = await other.get_data(f"{root}/{NAME}")
        assert (data, after.czxid) == (b"new", stat.czxid)


@pytest.mark.rule("D2", "D4")
@pytest.mark.parametrize("lost", ["request", "reply"])
async def test_lost_set_data_is_sent_again_to_the_same_znode(
    zookeeper: Server | External, root: str, lost: str
) -> None:
    async with (
        client(zookeeper) as other,
        Tap(zookeeper.address) as tap,
        client(tap) as zk,
        Registry(zk, root).register(NAME, b"old") as registration,
    ):
        stat = await placed(other, f"{root}/{NAME}")
        fault = cutting(**{"before" if lost == "request" else "after": _only(lost)(OpCode.SET_DATA)})  # type: ignore[arg-type]
        tap.fault = fault
        with trio.fail_after(PATIENCE):
            await registration.update(b"new")
        assert len(fault.hits) == 1
        await other.sync()
        data, after = await other.get_data(f"{root}/{NAME}")
        assert (data, after.czxid) == (b"new", stat.czxid)


def _only(lost: str) -> Callable[..., Callable[..., bool]]:
    return request if lost == "request" else reply_to


async def test_update_that_cannot_be_sent_is_not_registered(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        async with Registry(zk, root).register(NAME, b"old") as registration:
            with pytest.raises(LocalProtocolError):
                await registration.update(bytes(2**20))
            assert registration.data == b"old"
            await other.delete(f"{root}/{NAME}")
            await placed(other, f"{root}/{NAME}")
            assert (await other.get_data(f"{root}/{NAME}"))[0] == b"old"
        with pytest.raises(RegistryError, match="the registration has ended"):
            await registration.update(b"new")


async def test_of_updates_without_a_connection_the_last_one_counts(zookeeper: Server | External, root: str) -> None:
    async with (
        client(zookeeper) as other,
        on_line(zookeeper) as (zk, line),
        Registry(zk, root).register(NAME, b"old") as registration,
    ):
        await part(zk, line)
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(registration.update, b"%d" % number)
            await trio.testing.wait_all_tasks_blocked(0.01)
            wanted = registration.data
            line.heal()
        await other.sync()
        assert (await other.get_data(f"{root}/{NAME}"))[0] == wanted


# --- lost replies of create


@pytest.mark.rule("C4", "C5", "C6")
@pytest.mark.parametrize("layout", ["names", "serverset"])
async def test_lost_reply_to_create_is_resolved_by_a_search_after_a_sync(
    zookeeper: Server | External, root: str, layout: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap:
        await other.create(root)
        if layout == "serverset":
            # With the same data, of another session: not ours.
            data = Registry(other, root, layout)._layout.entry(NAME, b"").data
            await other.create(root + "/member_", data, mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        async with client(tap, on_frame=frames.append) as zk:
            fault = tap.fault = cutting(before=reply_to(OpCode.CREATE))
            async with Registry(zk, root, layout).register(NAME) as registration:
                assert len(fault.hits) == 1
                await other.sync()
                owners = [(await other.get_data(f"{root}/{name}"))[1] for name in await other.get_children(root)]
                assert [stat.ephemeral_owner for stat in owners].count(zk.session_id) == 1
                assert (await other.exists(await standing(registration))) in owners
                assert len(sent(frames, *CREATES)) == 1
                order = [frame.opcode for frame in frames if frame.direction is Direction.SENT]
                search = OpCode.GET_DATA if layout == "names" else OpCode.GET_CHILDREN
                create = order.index(OpCode.CREATE)
                assert order.index(OpCode.SYNC, create) < order.index(search, create)
        await other.sync()
        assert len(await other.get_children(root)) == (1 if layout == "serverset" else 0)


@pytest.mark.rule("C6")
async def test_lost_create_is_sent_again(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap, client(tap) as zk:
        await other.create(root)
        fault = tap.fault = cutting(before=request(OpCode.CREATE))
        async with Registry(zk, root).register(NAME) as registration:
            assert len(fault.hits) == 1
            await other.sync()
            assert [f"{root}/{name}" for name in await other.get_children(root)] == [registration.node]


@pytest.mark.rule("C6")
@pytest.mark.parametrize("whose", ["another's", "ours"])
async def test_member_with_the_same_data_is_not_taken_for_the_lost_one(
    zookeeper: Server | External, root: str, whose: str
) -> None:
    """Neither that of another session, nor that of another registration of this client."""
    async with (
        client(zookeeper) as other,
        Tap(zookeeper.address) as tap,
        client(tap) as zk,
        Registry(zk if whose == "ours" else other, root, "serverset").register(NAME) as first,
    ):
        fault = tap.fault = cutting(before=request(OpCode.CREATE))
        async with Registry(zk, root, "serverset").register(NAME) as second:
            assert len(fault.hits) == 1
            await other.sync()
            found = {f"{root}/{name}" for name in await other.get_children(root)}
            assert found == {await standing(first), await standing(second)}
            assert len(found) == 2


@pytest.mark.rule("D2")
async def test_lost_reply_to_a_read_of_ours_changes_nothing(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with (
        client(zookeeper) as other,
        Tap(zookeeper.address) as tap,
        client(tap, on_frame=frames.append) as zk,
    ):
        await other.create(root)
        fault = tap.fault = cutting(before=reply_to(OpCode.GET_DATA))
        async with Registry(zk, root).register(NAME) as registration:
            stat = await placed(other, f"{root}/{NAME}")
            await fault.wait()
            await reached(zk, KeeperState.DISCONNECTED)
            await reached(zk, KeeperState.SYNC_CONNECTED)
            await registration.update(b"new")
            _, after = await other.get_data(f"{root}/{NAME}")
            assert (after.czxid, after.version) == (stat.czxid, 1)
            assert len(sent(frames, *CREATES)) == 1


@pytest.mark.rule("C7")
async def test_znode_of_a_session_that_is_over_is_not_adopted(zookeeper: Server | External, root: str) -> None:
    """The reply to create is lost, and the session ends before the client is back."""
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap, client(tap) as zk:
        await other.create(root)
        first = zk.session

        def lose(_: object) -> Any:
            tap.refuse()
            return Cut(0)

        fault = tap.fault = When(reply_to(OpCode.CREATE), lose)
        async with trio.open_nursery() as nursery:

            async def end_the_session() -> None:
                await fault.wait()
                await placed(other, f"{root}/{NAME}")
                async with client(zookeeper, session=first):
                    pass
                await tap.heal()

            nursery.start_soon(end_the_session)
            async with Registry(zk, root).register(NAME):
                await other.sync()
                stat = await other.exists(f"{root}/{NAME}")
                assert stat is not None
                assert stat.ephemeral_owner == zk.session_id != first.id


# --- deregistering


@pytest.mark.rule("C9", "D5")
@pytest.mark.parametrize("layout", ["names", "serverset"])
@pytest.mark.parametrize("end", ["late", "lost"])
async def test_deregister_wins_against_a_create_on_its_way(
    zookeeper: Server | External, root: str, layout: str, end: str
) -> None:
    """The znode was deleted from outside, the create that repairs it hangs, or its reply is lost; then the block is
    left."""
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap, client(tap) as zk:
        released = trio.Event()
        async with Registry(zk, root, layout).register(NAME) as registration, trio.open_nursery() as nursery:
            hang = tap.fault = When(
                (request if end == "late" else reply_to)(OpCode.CREATE),
                Delay(until=released) if end == "late" else Cut(0),
            )
            await other.delete(await standing(registration))
            await hang.wait()

            async def release() -> None:
                await trio.testing.wait_all_tasks_blocked(0.01)
                released.set()

            nursery.start_soon(release)
            await registration.deregister()
            await other.sync()
            assert await other.get_children(root) == []
        await zk.sync()
        await other.sync()
        assert await other.get_children(root) == []


@pytest.mark.rule("D5")
async def test_deregister_while_the_session_is_being_replaced(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, on_line(zookeeper) as (zk, line):
        async with Registry(zk, root).register(NAME) as registration:
            await expire(zk, line, zookeeper)
            await registration.deregister()
            await registration.deregister()  # may be repeated
        await reached(zk, KeeperState.SYNC_CONNECTED)
        await zk.sync()
        await other.sync()
        assert await other.exists(f"{root}/{NAME}") is None


@pytest.mark.rule("C9")
async def test_cancelled_entering_leaves_no_znode(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap, client(tap) as zk:
        await other.create(root)
        hang = tap.fault = When(reply_to(OpCode.CREATE), Delay(0.2))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    await hang.wait()
                    scope.cancel()

                nursery.start_soon(cancel)
                async with Registry(zk, root).register(NAME):
                    raise AssertionError
        await other.sync()
        assert await other.get_children(root) == []


async def test_what_a_cancelled_block_could_not_delete_goes_with_the_next_connection(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as other, on_line(zookeeper) as (zk, line):
        session = zk.session_id
        with trio.CancelScope() as scope:
            async with Registry(zk, root).register(NAME):
                await part(zk, line)
                scope.cancel()
                await trio.sleep_forever()
        assert await other.exists(f"{root}/{NAME}") is not None
        await heal(zk, line)
        await until_gone(other, f"{root}/{NAME}")
        assert zk.session_id == session


async def test_leaving_waits_for_the_connection_that_deletes(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, on_line(zookeeper) as (zk, line), trio.open_nursery() as nursery:

        async def mend() -> None:
            await trio.testing.wait_all_tasks_blocked(0.01)
            line.heal()

        async with Registry(zk, root).register(NAME):
            await part(zk, line)
            nursery.start_soon(mend)
        await other.sync()
        assert await other.exists(f"{root}/{NAME}") is None


async def test_somebody_elses_znode_under_the_name_is_not_deleted(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        async with Registry(zk, root).register(NAME) as registration:
            await other.multi([Delete(f"{root}/{NAME}"), Create(f"{root}/{NAME}", mode=CreateMode.EPHEMERAL)])
            with trio.fail_after(PATIENCE):
                while registration.node is not None:
                    await registration._moved.wait()
        stat = await other.exists(f"{root}/{NAME}")
        assert stat is not None
        assert stat.ephemeral_owner == other.session_id


# --- names that are taken


@pytest.mark.rule("R4")
async def test_znode_of_a_process_that_was_killed_is_waited_out_not_adopted(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as other:
        async with client(zookeeper, timeout=1.0) as killed:
            await killed.ensure_path(root)
            await killed.create(f"{root}/{NAME}", b"data", mode=CreateMode.EPHEMERAL)
            killed.detach()
        former = await placed(other, f"{root}/{NAME}")
        async with client(zookeeper) as zk, Registry(zk, root).register(NAME, b"data"):
            stat = await other.exists(f"{root}/{NAME}")
            assert stat is not None
            assert stat.czxid > former.czxid
            assert stat.ephemeral_owner == zk.session_id


async def test_on_waiting_gets_the_session_that_a_registration_waits_for(
    zookeeper: Server | External, root: str
) -> None:
    waited: list[tuple[str, int]] = []
    async with client(zookeeper) as zk, client(zookeeper) as other, trio.open_nursery() as nursery:
        registration = Registry(zk, root).register(NAME)

        async def register() -> None:
            async with registration:
                nursery.cancel_scope.cancel()

        async with Registry(other, root).register(NAME):
            told = trio.Event()

            def note(path: str, session: int) -> None:
                waited.append((path, session))
                told.set()

            registration.on_waiting = note
            nursery.start_soon(register)
            await told.wait()
        await trio.sleep_forever()
    assert waited == [(f"{root}/{NAME}", other.session_id)]


@pytest.mark.rule("R4")
async def test_znode_of_our_own_former_session_is_deleted_and_created_again(
    zookeeper: Server | External, root: str
) -> None:
    """Our client takes its session for expired, but on the servers it lives, since somebody else has resumed it."""
    async with (
        client(zookeeper) as other,
        on_line(zookeeper, timeout=1.0) as (zk, line),
        Registry(zk, root).register(NAME),
    ):
        former = await placed(other, f"{root}/{NAME}")
        await part(zk, line)
        async with client(zookeeper, timeout=60.0, session=zk.session) as keeps_it_alive:
            await reached(zk, KeeperState.EXPIRED)
            line.heal()
            stat = await placed(other, f"{root}/{NAME}", lambda stat: stat.czxid > former.czxid)
            assert stat.ephemeral_owner == zk.session_id
            assert keeps_it_alive.session_id == former.ephemeral_owner


@pytest.mark.rule("R4")
async def test_znode_of_a_resumed_session_is_created_again_not_adopted(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as first:
        await first.ensure_path(root)
        await first.create(f"{root}/{NAME}", mode=CreateMode.EPHEMERAL)
        former = await first.exists(f"{root}/{NAME}")
        assert former is not None
        session = first.session
        first.detach()
    async with client(zookeeper, session=session) as zk, Registry(zk, root).register(NAME) as registration:
        assert registration.node is not None
        stat = await zk.exists(registration.node)
        assert stat is not None
        assert (stat.ephemeral_owner, stat.czxid > former.czxid) == (session.id, True)


async def test_name_that_this_client_has_registered_is_refused(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk, Registry(zk, root).register(NAME, b"first") as first:
        with pytest.raises(RegistryError, match="is registered by this client already"):
            async with Registry(zk, root).register(NAME, b"second"):
                raise AssertionError
        assert first.node is not None
        assert (await zk.get_data(first.node))[0] == b"first"


async def test_znode_that_no_session_owns_is_an_error(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.ensure_path(f"{root}/{NAME}")
        with pytest.raises(RegistryError, match="no session owns it"):
            async with Registry(zk, root).register(NAME):
                raise AssertionError


# --- errors and ends


async def registered_through(zk: Client, path: str, event: Callable[[], Awaitable[object]]) -> None:
    """A block in which this happens, and which then waits to be ended by it."""
    with trio.fail_after(PATIENCE):
        async with Registry(zk, path).register(NAME):
            await event()
            await trio.sleep_forever()


async def test_error_of_the_block_leaves_it_as_it_is(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(ValueError, match="mine"):
            async with Registry(zk, root).register(NAME):
                raise ValueError("mine")
        assert await zk.get_children(root) == []


async def test_error_that_forbids_the_znode_ends_the_block_as_it_is(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:

        async def forbid() -> None:
            await other.set_acl(root, [ACL(Perms.READ | Perms.DELETE | Perms.ADMIN, Id("world", "anyone"))])
            await other.delete(f"{root}/{NAME}")

        with pytest.raises(NoAuthError):
            await registered_through(zk, root, forbid)


async def test_without_a_new_session_expiry_ends_the_block(zookeeper: Server | External, root: str) -> None:
    async with on_line(zookeeper, new_session=False) as (zk, line):
        with pytest.raises(SessionExpiredError):
            await registered_through(zk, root, lambda: expire(zk, line, zookeeper))


async def test_closed_client_ends_the_block(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(ClosedError):
            await registered_through(zk, root, zk.aclose)


async def test_registration_is_entered_once(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        registration = Registry(zk, root).register(NAME)
        async with registration:
            pass
        with pytest.raises(RuntimeError, match="entered once"):
            await registration.__aenter__()


async def test_no_watch_is_left_when_the_block_is(server: Server, root: str) -> None:
    async with client(server) as zk:
        async with Registry(zk, root).register(NAME):
            await zk.sync()
            assert f"{root}/{NAME}" in await watched_paths(server)
        await zk.sync()
        assert not {path for path in await watched_paths(server) if path.startswith(root)}
