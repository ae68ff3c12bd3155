"""The live view on real servers: complete at first, then every change, and only what changes is read."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from election.errors import NoMembersError
from election.registry.layouts.payload import PayloadError
from election.registry.registry import Registry
from election.registry.view import Change, Members
from tests.conftest import External
from tests.support.behind import heal, held, on_line, part
from tests.support.live import PATIENCE, client, reached, sent, until, watched_paths
from tests.support.real.servers import Server
from zkwire import (
    ACL,
    Client,
    ClosedError,
    Create,
    CreateMode,
    Delete,
    Frame,
    Id,
    KeeperState,
    NoAuthError,
    OpCode,
    Perms,
    SessionExpiredError,
    SetData,
)
from zkwire.tap.tap import Tap, When
from zkwire.tap.tap import cut as cutting
from zkwire.traffic.faults import Delay, reply_to, request


async def entered(registry: Registry, event: Callable[[], Any]) -> None:
    """A block in which this happens, and which then waits to be ended by it."""
    with trio.fail_after(PATIENCE):
        async with registry.members():
            await event()
            await trio.sleep_forever()


READS = (OpCode.GET_DATA, OpCode.GET_CHILDREN, OpCode.GET_CHILDREN2, OpCode.EXISTS, OpCode.MULTI_READ)


async def make(zk: Client, root: str, *names: str, data: bytes = b"") -> None:
    await zk.ensure_path(root)
    for start in range(0, len(names), 500):
        await zk.multi([Create(f"{root}/{name}", data) for name in names[start : start + 500]])
    await zk.sync()


async def changes(members: Members, count: int) -> list[tuple[str, str]]:
    """The next changes, as (kind, name)."""
    with trio.fail_after(PATIENCE):
        return [(change.kind, change.member.name) for change in [await members.__anext__() for _ in range(count)]]


async def fresh(members: Members) -> None:
    await until(lambda: not members.stale)


def names(members: Members) -> list[str]:
    return [member.name for member in members.snapshot()]


# --- snapshot and changes


@pytest.mark.rule("D6")
async def test_snapshot_is_whole_before_any_change(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, root, *"cab", data=b"data")
        async with Registry(zk, root).members() as members:
            assert names(members) == ["a", "b", "c"]
            assert [member.data for member in members.snapshot()] == [b"data"] * 3
            assert (members.stale, members.age) == (False, 0.0)
            await make(other, root, "d")
            assert await changes(members, 1) == [("added", "d")]  # and nothing of the first three
            assert names(members) == ["a", "b", "c", "d"]


@pytest.mark.rule("D6")
async def test_view_of_a_path_that_is_not_there_is_empty_and_sees_it_come(
    zookeeper: Server | External, root: str
) -> None:
    async with (
        client(zookeeper) as other,
        client(zookeeper) as zk,
        Registry(zk, f"{root}/deep/service").members() as members,
    ):
        assert members.snapshot() == []
        assert await zk.exists(root) is None  # looking makes nothing
        for _ in range(2):
            await make(other, f"{root}/deep/service", "a", "b")
            assert sorted(await changes(members, 2)) == [("added", "a"), ("added", "b")]
            await other.multi([Delete(f"{root}/deep/service/{name}") for name in ("a", "b")])
            assert sorted(await changes(members, 2)) == [("removed", "a"), ("removed", "b")]
            await other.delete(f"{root}/deep/service")
            await other.delete(f"{root}/deep")


async def test_changes_are_told_apart_by_kind(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, root, "a")
        async with Registry(zk, root).members() as members:
            await other.set_data(f"{root}/a", b"new")
            change = await members.__anext__()
            assert (change.kind, change.member.data) == ("updated", b"new")
            await other.multi([Delete(f"{root}/a"), Create(f"{root}/a", b"new")])
            assert await changes(members, 2) == [("removed", "a"), ("added", "a")]  # it is another registration
            await other.create(f"{root}/a/below")
            await other.set_data(root, b"of the path itself")
            await other.delete(f"{root}/a/below")
            await other.delete(f"{root}/a")
            change = await members.__anext__()
            assert (change.kind, change.member.data) == ("removed", b"new")


async def test_changes_that_were_not_taken_become_one(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, root, "a", "b")
        async with Registry(zk, root).members() as members:
            for number in range(20):
                await other.set_data(f"{root}/a", b"%d" % number)
                await make(other, root, f"brief-{number}")
                await other.delete(f"{root}/brief-{number}")
            await other.delete(f"{root}/b")
            await make(other, root, "end")
            await until(lambda: "end" in names(members))
            assert sorted(await changes(members, 3)) == [("added", "end"), ("removed", "b"), ("updated", "a")]
            assert members._changes.take() is None
            assert (await zk.get_data(f"{root}/a"))[0] == members.snapshot()[0].data == b"19"


async def test_changes_applied_to_the_first_snapshot_give_the_last(zookeeper: Server | External, root: str) -> None:
    rng = random.Random(5)
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, root, *map(str, range(0, 40, 2)))
        async with Registry(zk, root).members() as members:
            view = {member.name: member for member in members.snapshot()}

            async def churn() -> None:
                there = {str(number) for number in range(0, 40, 2)}
                for number in range(300):
                    name = str(rng.randrange(40))
                    if name not in there:
                        await other.create(f"{root}/{name}")
                        there.add(name)
                    elif number % 3:
                        await other.delete(f"{root}/{name}")
                        there.discard(name)
                    else:
                        await other.set_data(f"{root}/{name}", b"%d" % number)
                await make(other, root, "end")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(churn)
                with trio.fail_after(PATIENCE):
                    async for change in members:
                        if change.kind == "removed":
                            del view[change.member.name]
                        else:
                            assert (change.member.name in view) == (change.kind == "updated")
                            view[change.member.name] = change.member
                        if change.member.name == "end":
                            break
            while (change_left := members._changes.take()) is not None:
                if change_left.kind == "removed":
                    del view[change_left.member.name]
                else:
                    view[change_left.member.name] = change_left.member
            assert sorted(view) == sorted(await other.get_children(root)) == names(members)
            assert [view[member.name] for member in members.snapshot()] == members.snapshot()


@pytest.mark.rule("D7")
async def test_member_that_goes_between_list_and_read_is_not_shown(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap, client(tap) as zk:
        await make(other, root, "gone", "stays")
        released = trio.Event()
        fault = tap.fault = When(request(OpCode.GET_DATA), Delay(until=released))
        async with trio.open_nursery() as nursery:

            async def delete() -> None:
                await fault.wait()
                await other.delete(f"{root}/gone")
                released.set()

            nursery.start_soon(delete)
            async with Registry(zk, root).members() as members:
                assert names(members) == ["stays"]
                await make(other, root, "end")
                assert await changes(members, 1) == [("added", "end")]


@pytest.mark.rule("D13")
async def test_churn_costs_reads_of_new_members_only(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    everyone = [f"member-{number:04}" for number in range(1000)]
    async with client(zookeeper) as other, client(zookeeper, on_frame=frames.append) as zk:
        await make(other, root, *everyone)
        async with Registry(zk, root).members() as members:
            assert len(sent(frames, *READS)) == 1 + 1000
            frames.clear()
            for name in everyone[:50]:
                await other.delete(f"{root}/{name}")
            await make(other, root, *(f"new-{number}" for number in range(50)))
            told = Counter(kind for kind, _ in await changes(members, 100))
            assert told == {"added": 50, "removed": 50}
            assert names(members) == sorted(await other.get_children(root))
            assert len(sent(frames, OpCode.GET_DATA)) == len(sent(frames, *READS)) == 50
            frames.clear()
            await other.set_data(f"{root}/{everyone[70]}", b"new")
            assert await changes(members, 1) == [("updated", everyone[70])]
            assert len(sent(frames, OpCode.GET_DATA)) == len(sent(frames, *READS)) == 1


# --- connections


@pytest.mark.rule("D8")
async def test_without_a_connection_the_view_stays_is_stale_and_is_right_again_afterwards(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as other, on_line(zookeeper) as (zk, line):
        await make(other, root, "calm", "calmer", "changes", "goes", "replaced")
        async with Registry(zk, root).members() as members:
            before = members.snapshot()
            await part(zk, line)
            assert members.stale
            await make(other, root, "comes")
            lost = trio.current_time()
            await other.multi([Delete(f"{root}/goes"), Delete(f"{root}/replaced"), SetData(f"{root}/changes", b"new")])
            await other.create(f"{root}/replaced")
            assert members.snapshot() == before
            assert members.pick("random") in before
            since = trio.current_time() - lost
            assert members.age >= since
            await heal(zk, line)
            told = await changes(members, 5)
            assert sorted(told) == sorted(
                [("added", "comes"), ("removed", "goes"), ("updated", "changes"), ("removed", "replaced"),
                 ("added", "replaced")]
            )  # fmt: skip
            await fresh(members)
            assert members.age == 0.0
            assert names(members) == ["calm", "calmer", "changes", "comes", "replaced"]
            assert members._changes.take() is None


@pytest.mark.rule("D8")
async def test_view_is_stale_from_the_loss_until_all_is_read_again(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap, client(tap) as zk:
        await make(other, root, "a")
        async with Registry(zk, root).members() as members:
            with held(tap, reply_to(OpCode.GET_DATA)) as fault:
                tap.cut()
                await reached(zk, KeeperState.DISCONNECTED)
                await reached(zk, KeeperState.SYNC_CONNECTED)
                await fault.wait()
                assert zk.state is KeeperState.SYNC_CONNECTED
                assert members.stale
            await fresh(members)


@pytest.mark.rule("D8")
async def test_view_lives_on_in_the_next_session(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, on_line(zookeeper) as (zk, line):
        await make(other, root, "calm", "goes")
        async with Registry(zk, root).members() as members:
            for turn in range(2):
                gone = zk.session
                await part(zk, line)
                async with client(zookeeper, session=gone):
                    pass
                await make(other, root, f"comes-{turn}")
                line.heal()
                assert await changes(members, 1) == [("added", f"comes-{turn}")]
                await fresh(members)
                assert zk.session_id != gone.id
                await other.set_data(f"{root}/calm", b"%d" % turn)
                assert await changes(members, 1) == [("updated", "calm")]


@pytest.mark.parametrize("lost", [OpCode.ADD_WATCH, OpCode.GET_CHILDREN, OpCode.GET_DATA])
async def test_requests_whose_replies_are_lost_while_the_view_begins_are_sent_again(
    zookeeper: Server | External, root: str, lost: OpCode
) -> None:
    async with client(zookeeper) as other, Tap(zookeeper.address) as tap, client(tap) as zk:
        await make(other, root, "a", "b")
        fault = tap.fault = cutting(before=reply_to(lost))
        async with Registry(zk, root).members() as members:
            assert len(fault.hits) == 1
            assert names(members) == ["a", "b"]
            await fresh(members)
            await make(other, root, "c")
            assert await changes(members, 1) == [("added", "c")]


# --- members that cannot be read


@pytest.mark.rule("D9")
async def test_undecodable_payload_is_left_out_and_reported_and_harms_no_other(
    zookeeper: Server | External, root: str
) -> None:
    reported: list[tuple[str, Exception]] = []
    service = f"{root}/daytime"
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, service, "bad", "good", data=b'{"address":"h","port":1}')
        await other.set_data(f"{service}/bad", b"{")
        view = Registry(zk, service, "curator").members(on_problem=lambda name, error: reported.append((name, error)))
        async with view as members:
            assert names(members) == ["good"]
            assert [*members.problems] == ["bad"] == [name for name, _ in reported]
            assert isinstance(members.problems["bad"], PayloadError)
            await other.set_data(f"{service}/bad", b"{}")
            assert await changes(members, 1) == [("added", "bad")]
            assert not members.problems
            await other.set_data(f"{service}/good", b'{"port":"x"}')
            assert await changes(members, 1) == [("removed", "good")]
            assert "port: expected int" in str(members.problems["good"])
            await other.delete(f"{service}/good")
            await make(other, service, "end", data=b"{}")
            assert await changes(members, 1) == [("added", "end")]
            assert not members.problems
            assert len(reported) == 2


@pytest.mark.rule("D9")
async def test_member_that_may_not_be_read_is_left_out_and_reported(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, root, "a")
        await other.create(f"{root}/secret", acl=[ACL(Perms.WRITE, Id("world", "anyone"))])
        await other.sync()
        async with Registry(zk, root).members() as members:
            assert names(members) == ["a"]
            assert isinstance(members.problems["secret"], NoAuthError)


async def test_serverset_shows_members_only(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk, Registry(zk, root, "serverset").register("h1:1"):
        await zk.create(f"{root}/vector_", b"{}", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        async with Registry(zk, root, "serverset").members() as members:
            (member,) = members.snapshot()
            assert (member.host, member.port, members.problems) == ("h1", 1, {})


# --- picking


async def test_new_registration_under_a_name_starts_without_errors(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, root, "a", "b")
        async with Registry(zk, root).members(errors=1) as members:
            former = members.snapshot()[0]
            members.note_error(former)
            assert {members.pick().name for _ in range(50)} == {"b"}
            await other.set_data(f"{root}/a", b"new")
            await changes(members, 1)
            assert {members.pick().name for _ in range(50)} == {"b"}  # it is the same one still
            await other.multi([Delete(f"{root}/a"), Create(f"{root}/a")])
            await changes(members, 2)
            assert {members.pick().name for _ in range(50)} == {"a", "b"}
            members.note_error(former)  # of the one that has gone
            assert {members.pick().name for _ in range(50)} == {"a", "b"}


@pytest.mark.rule("D10")
async def test_members_are_picked_until_the_list_is_empty(zookeeper: Server | External, root: str) -> None:
    strategies = ("random", "round-robin", "sticky", "least-loaded")
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await make(other, root, *"abcde")
        async with Registry(zk, root).members() as members:
            for name in "abcde":
                assert all(members.pick(strategy).name >= name for strategy in strategies for _ in range(10))
                await other.delete(f"{root}/{name}")
                await changes(members, 1)
            for strategy in strategies:
                with pytest.raises(NoMembersError, match=re.escape(f"{root} has no members that may be used")):
                    members.pick(strategy)


async def test_members_that_are_not_enabled_are_seen_and_not_picked(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await make(zk, f"{root}/daytime", "on", data=b"{}")
        await make(zk, f"{root}/daytime", "off", data=b'{"enabled":false}')
        async with Registry(zk, f"{root}/daytime", "curator").members() as members:
            assert names(members) == ["off", "on"]
            assert {members.pick().name for _ in range(50)} == {"on"}


async def test_stale_view_says_so_when_it_has_none_to_pick(zookeeper: Server | External, root: str) -> None:
    async with on_line(zookeeper) as (zk, line), Registry(zk, root).members() as members:
        await part(zk, line)
        with pytest.raises(NoMembersError, match=r"\(as of \d+ s ago, when the connection was lost\)"):
            members.pick()
        line.heal()


# --- errors and ends


async def test_error_of_the_block_leaves_it_as_it_is(zookeeper: Server | External, root: str) -> None:
    async def fail() -> None:
        raise ValueError("mine")

    async with client(zookeeper) as zk:
        with pytest.raises(ValueError, match="mine"):
            await entered(Registry(zk, root), fail)


async def test_closed_client_ends_the_block(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(ClosedError):
            await entered(Registry(zk, root), zk.aclose)


async def test_without_a_new_session_expiry_ends_the_block(zookeeper: Server | External, root: str) -> None:
    async with on_line(zookeeper, new_session=False) as (zk, line):

        async def expire() -> None:
            await part(zk, line)
            async with client(zookeeper, session=zk.session):
                pass
            line.heal()

        with pytest.raises(SessionExpiredError):
            await entered(Registry(zk, root), expire)


async def test_path_that_may_not_be_read_is_an_error(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root, acl=[ACL(Perms.WRITE, Id("world", "anyone"))])
        with pytest.raises(NoAuthError):
            await entered(Registry(zk, root), trio.sleep_forever)


async def test_iteration_ends_with_the_block(zookeeper: Server | External, root: str) -> None:
    seen: list[Change] = []

    async def read(members: Members) -> None:
        async for change in members:
            seen.append(change)
        seen.append(None)  # type: ignore[arg-type]

    async with client(zookeeper) as zk, trio.open_nursery() as nursery:
        async with Registry(zk, root).members() as members:
            nursery.start_soon(read, members)
            await trio.testing.wait_all_tasks_blocked(0.01)
        await until(lambda: seen)
    assert seen == [None]


async def test_view_is_entered_once(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        members = Registry(zk, root).members()
        async with members:
            pass
        with pytest.raises(RuntimeError, match="entered once"):
            await members.__aenter__()


async def test_no_watch_is_left_when_the_block_is(server: Server, root: str) -> None:
    async with client(server) as zk:
        async with Registry(zk, root).members():
            assert root in await watched_paths(server)
        await zk.sync()
        assert root not in await watched_paths(server)
