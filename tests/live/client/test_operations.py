"""Every operation, and the errors its docstring names, on real servers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio

import zkwire
from tests.conftest import External
from tests.support.live import PATIENCE, TIMEOUT, client, until_gone
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Ensemble, Server
from zkwire import (
    ACL,
    CREATOR_ALL_ACL,
    READ_ACL_UNSAFE,
    BadArgumentsError,
    BadVersionError,
    Check,
    ConnectionLossError,
    Create,
    CreateMode,
    Delete,
    Direction,
    Frame,
    GetChildren,
    GetData,
    Id,
    InvalidACLError,
    KeeperState,
    LocalProtocolError,
    MarshallingError,
    NewConfigNoQuorumError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    Perms,
    QuotaExceededError,
    ReconfigDisabledError,
    RuntimeInconsistencyError,
    SetData,
    UnimplementedError,
    WatcherType,
)
from zkwire.client.call import Call
from zkwire.frames import MAX_REQUEST
from zkwire.operations import CHECK, CHECK_WATCHES, Operation
from zkwire.records import CheckVersionRequest, CheckWatchesRequest

CREATE2_IN_MULTI_HAS_STAT = (3, 8, 2)
SUPER = "super:secret"
SUPER_DIGEST = "super:" + base64.b64encode(hashlib.sha1(SUPER.encode()).digest()).decode()


@pytest.fixture(scope="module")
def server(distribution: Distribution) -> Iterator[Server]:
    """A server that reaps containers and TTL znodes at once, and enforces quotas."""
    options = ["-Dznode.container.checkIntervalMs=100", "-Dzookeeper.enforceQuota=true"]
    with Server(distribution, jvm=options) as private:
        yield private


@pytest.fixture(scope="module")
def reconfigurable(distribution: Distribution) -> Iterator[Ensemble]:
    superuser = f"-Dzookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"
    with Ensemble(distribution, config={"reconfigEnabled": "true"}, jvm=[superuser]) as servers:
        yield servers


# --- create


@pytest.mark.parametrize("mode", [CreateMode.PERSISTENT, CreateMode.EPHEMERAL, CreateMode.CONTAINER])
async def test_create_returns_the_path_as_given_in_a_mode_that_is_not_sequential(
    zookeeper: Server | External, root: str, mode: CreateMode
) -> None:
    async with client(zookeeper) as zk:
        assert await zk.create(root, b"data", mode=mode) == root
        data, stat = await zk.get_data(root)
        assert data == b"data"
        assert stat.ephemeral_owner == (zk.session_id if mode is CreateMode.EPHEMERAL else 0)


@pytest.mark.rule(73)
@pytest.mark.parametrize("mode", [CreateMode.PERSISTENT_SEQUENTIAL, CreateMode.EPHEMERAL_SEQUENTIAL])
async def test_create_returns_the_path_with_ten_digits_in_a_sequential_mode(
    zookeeper: Server | External, root: str, mode: CreateMode
) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        paths = [await zk.create(root + "/n-", mode=mode) for _ in range(3)]
        assert paths == [f"{root}/n-{number:010}" for number in range(3)]
        assert sorted(await zk.get_children(root)) == [path.rpartition("/")[2] for path in paths]


async def test_create_counts_every_child_ever_made_when_sequential(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        await zk.create(root + "/plain")
        await zk.delete(root + "/plain")
        assert await zk.create(root + "/n-", mode=CreateMode.PERSISTENT_SEQUENTIAL) == root + "/n-0000000001"


@pytest.mark.rule(77)
async def test_create_takes_a_slash_at_the_end_of_a_sequential_path(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        assert await zk.create(root + "/", mode=CreateMode.PERSISTENT_SEQUENTIAL) == root + "/0000000000"
        with pytest.raises(BadArgumentsError, match="ends with '/'"):
            await zk.create(root + "/")


async def test_create2_returns_the_stat_of_the_new_znode(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        path, stat = await zk.create2(root, b"four", mode=CreateMode.EPHEMERAL_SEQUENTIAL)
        assert path.startswith(root)
        assert (stat.data_length, stat.version, stat.ephemeral_owner) == (4, 0, zk.session_id)
        assert stat == await zk.exists(path)


@pytest.mark.rule(71)
@pytest.mark.parametrize(
    ("mode", "ttl"),
    [
        (CreateMode.CONTAINER, None),
        (CreateMode.PERSISTENT_WITH_TTL, 60.0),
        (CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, 60.0),
    ],
)
async def test_create2_returns_path_and_stat_for_containers_and_ttl_znodes(
    zookeeper: Server | External, root: str, mode: CreateMode, ttl: float | None
) -> None:
    async with client(zookeeper) as zk:
        path, stat = await zk.create2(root, b"x", mode=mode, ttl=ttl)
        assert path == (root + path[-10:] if mode.is_sequential else root)
        assert stat == await zk.exists(path)
        again = await zk.create(root + "-plain", b"x", mode=mode, ttl=ttl)
        assert await zk.exists(again) is not None


async def test_container_is_removed_after_its_last_child(server: Server, root: str) -> None:
    async with client(server) as zk:
        await zk.create(root, mode=CreateMode.CONTAINER)
        await zk.create(root + "/child")
        await zk.delete(root + "/child")
        await until_gone(zk, root)


async def test_ttl_znode_is_removed_when_it_was_not_changed_for_its_time(server: Server, root: str) -> None:
    async with client(server) as zk:
        await zk.create(root + "-long", mode=CreateMode.PERSISTENT_WITH_TTL, ttl=600)
        await zk.create(root, mode=CreateMode.PERSISTENT_WITH_TTL, ttl=0.05)
        await until_gone(zk, root)
        assert await zk.exists(root + "-long") is not None


@pytest.mark.parametrize(
    ("mode", "ttl", "message"),
    [
        (CreateMode.PERSISTENT_WITH_TTL, None, "needs a ttl"),
        (CreateMode.PERSISTENT_WITH_TTL, 0.0, "ttl is 1 to"),
        (CreateMode.PERSISTENT_WITH_TTL, 2.0**40 / 1000, "ttl is 1 to"),
        (CreateMode.PERSISTENT, 1.0, "takes no ttl"),
        (3, None, "takes a CreateMode"),
    ],
)
async def test_create_refuses_locally_a_mode_and_ttl_that_do_not_fit(
    zookeeper: Server | External, root: str, mode: CreateMode, ttl: float | None, message: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, on_frame=frames.append) as zk:
        sent = len(frames)
        with pytest.raises(LocalProtocolError, match=message):
            await zk.create(root, mode=mode, ttl=ttl)
        assert len(frames) == sent
        assert await zk.exists(root) is None


@pytest.mark.rule(81)
async def test_create_raises_what_prevents_it(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root, mode=CreateMode.EPHEMERAL)
        with pytest.raises(NodeExistsError) as exists:
            await zk.create(root)
        with pytest.raises(NoNodeError) as no_parent:
            await zk.create(root + "-missing/child")
        with pytest.raises(NoChildrenForEphemeralsError) as ephemeral:
            await zk.create(root + "/child")
        assert [error.value.code for error in (exists, no_parent, ephemeral)] == [-110, -101, -108]
        assert str(ephemeral.value) == f"NO_CHILDREN_FOR_EPHEMERALS (-108): create {root}/child"


@pytest.mark.parametrize("entry", [ACL(31, Id("world", "somebody")), ACL(31, Id("no-such-scheme", "x"))])
async def test_create_raises_invalid_acl_for_a_scheme_or_id_that_the_server_does_not_know(
    zookeeper: Server | External, root: str, entry: ACL
) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(InvalidACLError):
            await zk.create(root, acl=[entry])


async def test_create_refuses_an_empty_acl_locally(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(LocalProtocolError, match="the ACL is empty"):
            await zk.create(root, acl=[])


async def test_ensure_path_passes_parents_that_permit_nothing(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.ensure_path(root + "/locked/open")
        await zk.set_acl(root + "/locked", READ_ACL_UNSAFE)
        await zk.set_acl(root, READ_ACL_UNSAFE)
        await zk.ensure_path(root + "/locked/open/new")
        assert await zk.exists(root + "/locked/open/new") is not None
        with pytest.raises(NoAuthError, match="/locked/new"):
            await zk.ensure_path(root + "/locked/new/child")


async def test_ensure_path_creates_what_is_missing_and_may_be_repeated(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root, b"keep")
        await zk.ensure_path(root + "/a/b/c")
        await zk.ensure_path(root + "/a/b/c")
        await zk.ensure_path("/")
        assert await zk.exists(root + "/a/b/c") is not None
        assert (await zk.get_data(root))[0] == b"keep"


# --- reads and writes


async def test_exists_returns_none_when_there_is_no_such_znode(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        assert await zk.exists(root) is None
        await zk.create(root)
        stat = await zk.exists(root)
        assert stat is not None
        assert stat.version == 0


@pytest.mark.rule(74)
@pytest.mark.parametrize("data", [None, b"", b"\x00", b"text"])
async def test_data_comes_back_as_it_was_set_null_and_empty_told_apart(
    zookeeper: Server | External, root: str, data: bytes | None
) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root, data)
        assert (await zk.get_data(root))[0] == data
        await zk.set_data(root, b"something else")
        stat = await zk.set_data(root, data)
        assert await zk.get_data(root) == (data, stat)
        await zk.multi([SetData(root, b"something else"), SetData(root, data)])
        assert await zk.multi_read([GetData(root)]) == [(data, await zk.exists(root))]


async def test_set_data_applies_only_to_the_version_it_names(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        assert (await zk.set_data(root, b"1", version=0)).version == 1
        with pytest.raises(BadVersionError):
            await zk.set_data(root, b"2", version=0)
        assert (await zk.set_data(root, b"3")).version == 2
        with pytest.raises(NoNodeError):
            await zk.set_data(root + "-missing", b"")


async def test_delete_raises_for_a_wrong_version_children_and_nothing_there(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as zk:
        await zk.ensure_path(root + "/child")
        with pytest.raises(BadVersionError):
            await zk.delete(root, version=7)
        with pytest.raises(NotEmptyError):
            await zk.delete(root)
        await zk.delete(root + "/child", version=0)
        await zk.delete(root)
        with pytest.raises(NoNodeError):
            await zk.delete(root)


async def test_reads_raise_no_node_where_nothing_is(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        reads: list[Call[Any]] = [
            zk.get_data(root),
            zk.get_children(root),
            zk.get_children2(root),
            zk.get_acl(root),
            zk.get_all_children_number(root),
        ]
        for read in reads:
            with pytest.raises(NoNodeError) as error:
                await read
            assert error.value.path == root


async def test_get_children_has_names_and_get_children2_the_stat_too(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.ensure_path(root + "/a/deeper")
        await zk.create(root + "/b")
        assert sorted(await zk.get_children(root)) == ["a", "b"]
        names, stat = await zk.get_children2(root)
        assert sorted(names) == ["a", "b"]
        assert stat == await zk.exists(root)
        assert stat.num_children == 2
        assert await zk.get_all_children_number(root) == 3
        assert await zk.get_children(root + "/b") == []


async def test_get_children_returns_ten_thousand_names(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        names = [f"{number:05}-{'x' * 200}" for number in range(10_000)]
        batches = [names[start : start + 1000] for start in range(0, len(names), 1000)]
        calls = [zk.multi([Create(f"{root}/{name}") for name in batch]) for batch in batches]
        for call in calls:
            await call
        assert sorted(await zk.get_children(root)) == names
        assert (await zk.get_children2(root))[1].num_children == 10_000
        cleaning = [zk.multi([Delete(f"{root}/{name}") for name in batch]) for batch in batches]
        for call in cleaning:
            await call


@pytest.mark.rule(78)
async def test_sync_returns_the_path_also_of_a_missing_znode(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        assert await zk.sync() == "/"
        assert await zk.sync(root + "/missing") == root + "/missing"


@pytest.mark.rule(35)
async def test_requests_are_applied_in_call_order_when_awaited_backwards(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        calls = [zk.set_data(root, str(number).encode()) for number in range(100)]
        versions = [(await call).version for call in reversed(calls)]
        assert versions == list(range(100, 0, -1))
        assert (await zk.get_data(root))[0] == b"99"


@pytest.mark.rule(34)
async def test_cancelled_requests_shift_no_replies(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        for number in range(20):
            await zk.create(f"{root}/{number}", b"%d" % number)
        results: list[bool] = []

        async def read(number: int, patience: float) -> None:
            with trio.move_on_after(patience):
                for _ in range(20):
                    results.append((await zk.get_data(f"{root}/{number}"))[0] == b"%d" % number)

        async with trio.open_nursery() as nursery:
            for turn in range(200):
                nursery.start_soon(read, turn % 20, turn / 10_000 if turn % 4 else TIMEOUT)
        assert all(results)
        assert len(results) >= 50 * 20
        assert (await zk.get_data(root + "/7"))[0] == b"7"


async def test_requests_of_many_megabytes_at_once_all_arrive(zookeeper: Server | External, root: str) -> None:
    """Far more than the socket takes: the writer has the rest."""
    async with client(zookeeper) as zk:
        await zk.create(root)
        calls = [zk.set_data(root, bytes([number]) * 300_000) for number in range(100)]
        assert [(await call).version for call in calls] == list(range(1, 101))
        assert (await zk.get_data(root))[0] == bytes([99]) * 300_000


# --- paths


BAD_PATHS = [
    (None, "a path is a str"),
    (b"/bytes", "a path is a str"),
    ("", "not empty"),
    ("relative", "does not start with"),
    ("/a/", "ends with"),
    ("//", "ends with|component"),
    ("/a//b", "component ''"),
    ("/a/./b", "component '.'"),
    ("/a/../b", "component '..'"),
    ("/..", "component '..'"),
    ("/a\x00b", "U\\+0000"),
    ("/a\x1fb", "U\\+001F"),
    ("/a\x7f", "U\\+007F"),
    ("/\ue000", "U\\+E000"),
    ("/\ud800", "U\\+D800"),
    ("/\uffff", "U\\+FFFF"),
    ("/\U0001f600", "U\\+1F600"),
]


@pytest.mark.rule(76)
@pytest.mark.parametrize(("path", "message"), BAD_PATHS, ids=[ascii(path) for path, _ in BAD_PATHS])
async def test_bad_path_is_refused_by_every_operation_before_a_byte_is_sent(
    zookeeper: Server | External, path: Any, message: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, on_frame=frames.append) as zk:
        before = len(frames)
        operations = [
            zk.create,
            zk.create2,
            zk.delete,
            zk.exists,
            zk.get_data,
            zk.get_children,
            zk.get_children2,
            zk.get_all_children_number,
            zk.get_ephemerals,
            zk.get_acl,
            zk.sync,
            zk.ensure_path,
            zk.get_data_and_watch,
            zk.exists_and_watch,
            zk.get_children_and_watch,
            zk.get_children2_and_watch,
            lambda path: zk.set_data(path, b""),
            lambda path: zk.set_acl(path, CREATOR_ALL_ACL),
            lambda path: zk.check_watches(path, WatcherType.ANY),
            lambda path: zk.multi([Create("/fine"), Create(path)]),
            lambda path: zk.multi([Delete(path)]),
            lambda path: zk.multi([SetData(path, b"")]),
            lambda path: zk.multi([Check(path)]),
            lambda path: zk.multi_read([GetData(path)]),
            lambda path: zk.multi_read([GetChildren(path)]),
        ]
        for operation in operations:
            with pytest.raises(BadArgumentsError, match=message):
                await operation(path)  # type: ignore[operator]
        with pytest.raises(BadArgumentsError, match=message):
            zk.add_watch(path, zkwire.AddWatchMode.PERSISTENT)
        assert frames[before:] == []
        assert await zk.exists("/") is not None, "the connection is unharmed"


@pytest.mark.parametrize("name", ["...", ".a", "a.", " ", "ä", "\ud7ff", "\uf900", "\uffef", "\xa0", "x" * 100_000])
async def test_odd_but_legal_name_survives_the_round_trip(zookeeper: Server | External, root: str, name: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root)
        assert await zk.create(f"{root}/{name}") == f"{root}/{name}"
        assert await zk.get_children(root) == [name]


@pytest.mark.rule(82)
async def test_check_alone_is_refused_locally(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(LocalProtocolError, match="check is allowed only inside multi"):
            zk._call(CHECK, CheckVersionRequest(root, -1), lambda reply: None)


# --- chroot


@pytest.mark.rule(59)
async def test_chroot_goes_on_and_off_the_paths_of_every_operation(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as outside, client(zookeeper, root) as zk:
        with pytest.raises(NoNodeError) as error:
            await zk.get_data("/")
        assert error.value.path == "/", "the chroot itself is missing, and is the client's root"
        await zk.ensure_path("/")
        assert await zk.create("/app", b"x") == "/app"
        assert await zk.create("/n-", mode=CreateMode.EPHEMERAL_SEQUENTIAL) == "/n-0000000001"
        assert (await zk.create2("/two"))[0] == "/two"
        assert sorted(await zk.get_children("/")) == ["app", "n-0000000001", "two"]
        assert await zk.sync("/app") == "/app"
        assert await zk.get_ephemerals("/") == ["/n-0000000001"]
        assert await zk.multi([Create("/m"), Create("/m/s-", mode=CreateMode.PERSISTENT_SEQUENTIAL)]) == [
            "/m",
            "/m/s-0000000000",
        ]
        assert await zk.multi_read([GetChildren("/m")]) == [["s-0000000000"]]
        with pytest.raises(NodeExistsError) as exists:
            await zk.multi([Check("/app"), Create("/m")])
        assert exists.value.path == "/m"
        with pytest.raises(NoNodeError) as missing:
            await zk.delete("/missing")
        assert missing.value.path == "/missing"
        assert (await outside.get_data(root + "/app"))[0] == b"x"


@pytest.mark.rule(59)
async def test_chroot_comes_off_event_paths_and_its_own_znode_is_the_root(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as outside, client(zookeeper, root) as zk:
        _, created = await zk.exists_and_watch("/")
        await outside.create(root)
        with trio.fail_after(PATIENCE):
            assert (await created.wait()).path == "/"
        async with zk.add_watch("/", zkwire.AddWatchMode.PERSISTENT_RECURSIVE) as events:
            await outside.create(root + "/a")
            await outside.set_data(root, b"")
            with trio.fail_after(PATIENCE):
                assert [(await events.__anext__()).path for _ in range(2)] == ["/a", "/"]


async def test_missing_chroot_is_named_in_the_error(zookeeper: Server | External, root: str) -> None:
    chroot = f"{root}/app"
    missing = f'the chroot {chroot} does not exist; ensure_path("/") creates it'
    maybe = f'the server has no {chroot}/a/b; ensure_path("/") creates the chroot {chroot} if it is missing too'
    async with client(zookeeper, chroot) as zk:
        calls: list[Any] = [
            zk.get_data("/"),
            zk.get_children("/"),
            zk.set_acl("/", READ_ACL_UNSAFE),
            zk.create("/workers"),
            zk.create2("/n-", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
            zk.create("/c", mode=CreateMode.CONTAINER),
            zk.multi([Create("/workers")]),
        ]
        for call in calls:
            with pytest.raises(NoNodeError) as error:
                await call
            assert error.value.reason == missing
            assert str(error.value).endswith(f": {missing}")
        calls = [zk.get_data("/a/b"), zk.create("/a/b"), zk.delete("/a/b"), zk.multi([Check("/a/b")])]
        for call in calls:
            with pytest.raises(NoNodeError) as error:
                await call
            assert error.value.reason == maybe
        (result,) = await zk.multi_read([GetChildren("/")])
        assert (type(result), result.reason) == (NoNodeError, missing)
        assert await zk.exists("/") is None
        await zk.ensure_path("/a")
        assert await zk.get_children("/a") == []
    async with client(zookeeper) as zk:
        with pytest.raises(NoNodeError) as error:
            await zk.get_data(f"{root}/none")
        assert error.value.reason == ""


@pytest.mark.rule(59, 79)
async def test_chroot_does_not_take_a_longer_name_for_its_own(zookeeper: Server | External, root: str) -> None:
    """/app is not the parent of /apple, though getEphemerals on the server knows only text."""
    async with client(zookeeper) as outside:
        await outside.create(root)
        await outside.create(root + "/mine", mode=CreateMode.EPHEMERAL)
        await outside.create(root + "le", mode=CreateMode.EPHEMERAL)
        outside.detach()
    async with client(zookeeper, root, session=outside.session) as zk:
        assert await zk.get_ephemerals("/") == ["/mine"]


@pytest.mark.rule(79)
async def test_get_ephemerals_filters_by_text_and_only_this_session(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as other, client(zookeeper) as zk:
        await zk.create(root)
        for name in ("/a", "/ab", "/c"):
            await zk.create(root + name, mode=CreateMode.EPHEMERAL)
        await other.create(root + "/a-other", mode=CreateMode.EPHEMERAL)
        assert sorted(await zk.get_ephemerals(root + "/a")) == [root + "/a", root + "/ab"]
        assert sorted(await zk.get_ephemerals()) == [root + "/a", root + "/ab", root + "/c"]
        assert await zk.get_ephemerals(root + "/zzz") == []


# --- multi


@pytest.mark.rule(73)
async def test_multi_returns_a_result_for_every_kind_of_operation(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        results = await zk.multi(
            [
                Create(root, b"0"),
                Create(root + "/s-", mode=CreateMode.PERSISTENT_SEQUENTIAL),
                Create(root + "/s-", mode=CreateMode.EPHEMERAL_SEQUENTIAL),
                Create(root + "/c", mode=CreateMode.CONTAINER),
                Create(root + "/t", mode=CreateMode.PERSISTENT_WITH_TTL, ttl=60),
                SetData(root, b"1", version=0),
                Check(root, 1),
                Create(root + "/gone"),
                Delete(root + "/gone"),
            ]
        )
        data, stat = await zk.get_data(root)
        assert data == b"1"
        stat_in_results = results[5]
        assert (stat_in_results.version, stat_in_results.mzxid) == (1, stat.mzxid)
        del results[5]
        names = ["", "/s-0000000000", "/s-0000000001", "/c", "/t"]
        assert results == [*(root + name for name in names), None, root + "/gone", None]
        assert sorted(await zk.get_children(root)) == ["c", "s-0000000000", "s-0000000001", "t"]


@pytest.mark.rule(70, 71)
async def test_multi_gives_a_stat_with_create2_where_the_server_sends_one(
    server: Server, distribution: Distribution, root: str
) -> None:
    async with client(server) as zk:
        (plain, stat), (container, container_stat), (ttl, ttl_stat) = await zk.multi(
            [
                Create(root, with_stat=True),
                Create(root + "/c", mode=CreateMode.CONTAINER, with_stat=True),
                Create(root + "/t", mode=CreateMode.PERSISTENT_WITH_TTL, ttl=60, with_stat=True),
            ]
        )
        assert (plain, container, ttl) == (root, root + "/c", root + "/t")
        assert (stat is not None) is (distribution.version_tuple >= CREATE2_IN_MULTI_HAS_STAT)
        assert container_stat == await zk.exists(root + "/c")
        assert ttl_stat == await zk.exists(root + "/t")


@pytest.mark.rule(68)
async def test_multi_that_fails_applies_nothing_and_says_which_operation_it_was(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(NoNodeError) as error:
            await zk.multi([Create(root), Check(root), Delete(root + "/missing"), Create(root + "/later")])
        assert error.value.index == 2
        assert error.value.path == root + "/missing"
        assert error.value.results is not None
        assert [type(result) for result in error.value.results] == [
            type(None),
            type(None),
            NoNodeError,
            RuntimeInconsistencyError,
        ]
        assert await zk.exists(root) is None


@pytest.mark.rule(68)
async def test_multi_raises_for_its_first_operation_too(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(NoNodeError) as error:
            await zk.multi([Check(root, 3), Create(root)])
        assert error.value.index == 0
        await zk.create(root)
        with pytest.raises(BadVersionError):
            await zk.multi([Check(root, 3)])


@pytest.mark.rule(69)
async def test_empty_multi_and_empty_multi_read_return_empty_lists(zookeeper: Server | External) -> None:
    async with client(zookeeper) as zk:
        assert await zk.multi([]) == []
        assert await zk.multi_read([]) == []


async def test_multi_refuses_locally_what_may_not_stand_in_it(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(LocalProtocolError, match="multi takes Create, Delete, SetData and Check"):
            await zk.multi([GetData(root)])  # type: ignore[list-item]
        with pytest.raises(LocalProtocolError, match="multiRead takes GetData and GetChildren"):
            await zk.multi_read([Delete(root)])  # type: ignore[list-item]


@pytest.mark.rule(72)
async def test_multi_read_gives_errors_in_place_while_the_others_succeed(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root, b"data")
        await zk.create(root + "/child")
        missing = root + "/missing"
        found = await zk.multi_read([GetData(root), GetData(missing), GetChildren(missing), GetChildren(root)])
        assert found[0] == (b"data", await zk.exists(root))
        assert [type(error) for error in found[1:3]] == [NoNodeError, NoNodeError]
        assert [error.path for error in found[1:3]] == [missing, missing]
        assert found[3] == ["child"]


# --- ACLs and identities


def digest_id(user: str, password: str) -> Id:
    digest = hashlib.sha1(f"{user}:{password}".encode()).digest()
    return Id("digest", f"{user}:{base64.b64encode(digest).decode()}")


async def test_acl_of_the_creator_keeps_everybody_else_out(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper, auth=[("digest", b"bob:pw")]) as bob, client(zookeeper) as other:
        await bob.create(root, b"secret", acl=CREATOR_ALL_ACL)
        assert (await bob.get_data(root))[0] == b"secret"
        refused: list[Call[Any]] = [
            other.get_data(root),
            other.set_data(root, b""),
            other.get_children(root),
            other.create(root + "/child"),
            other.set_acl(root, READ_ACL_UNSAFE),
            other.get_acl(root),
            other.multi([SetData(root, b"")]),
        ]
        for call in refused:
            with pytest.raises(NoAuthError):
                await call
        await other.add_auth("digest", b"bob:pw")
        assert (await other.get_data(root))[0] == b"secret"


async def test_acl_comes_back_as_it_was_set_and_counts_its_versions(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper, auth=[("digest", b"bob:pw")]) as zk:
        await zk.create(root)
        acl, stat = await zk.get_acl(root)
        assert acl == [ACL(Perms.ALL, Id("world", "anyone"))]
        wanted = [ACL(Perms.READ, Id("world", "anyone")), ACL(Perms.ALL, digest_id("bob", "pw"))]
        assert (await zk.set_acl(root, wanted, version=stat.aversion)).aversion == stat.aversion + 1
        with pytest.raises(BadVersionError):
            await zk.set_acl(root, wanted, version=stat.aversion)
        assert (await zk.get_acl(root))[0] == wanted
        with pytest.raises(NoNodeError):
            await zk.set_acl(root + "-missing", wanted)


async def test_acl_digest_is_masked_for_who_may_not_administer(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        acl = [ACL(Perms.READ, Id("world", "anyone")), ACL(Perms.ALL, digest_id("bob", "pw"))]
        await zk.create(root, acl=acl)
        found, _ = await zk.get_acl(root)
        assert found[1] == ACL(Perms.ALL, Id("digest", "bob:x"))


@pytest.mark.rule(75)
async def test_acl_id_beyond_the_basic_plane_decodes_to_the_same_text(zookeeper: Server | External, root: str) -> None:
    """The server sends it as two surrogates of three bytes each (CESU-8), which a strict decoder refuses."""
    frames: list[Frame] = []
    async with client(zookeeper, on_frame=frames.append, auth=[("digest", b"bob:pw")]) as zk:
        wanted = [ACL(Perms.ALL, Id("digest", "\U0001f600:x")), ACL(Perms.ALL, digest_id("bob", "pw"))]
        await zk.create(root, acl=wanted)
        assert (await zk.get_acl(root))[0] == wanted
        assert b"\xed\xa0\xbd\xed\xb8\x80:x" in frames[-1].payload


async def test_who_am_i_lists_the_identities_of_the_connection(zookeeper: Server | External) -> None:
    async with client(zookeeper) as zk:
        assert [identity.auth_scheme for identity in await zk.who_am_i()] == ["ip"]
        await zk.add_auth("digest", b"bob:pw")
        await zk.add_auth("digest", b"eve:pw")
        found = {(identity.auth_scheme, identity.user) for identity in await zk.who_am_i()}
        assert {("digest", "bob"), ("digest", "eve")} < found


async def test_quota_raises_when_it_is_exceeded(server: Server, root: str) -> None:
    async with client(server) as zk:
        await zk.create(root)
        await zk.ensure_path("/zookeeper/quota" + root)
        limits = f"/zookeeper/quota{root}/zookeeper_limits"
        await zk.create(limits, b"count=-1,bytes=-1,byteHardLimit=10,countHardLimit=2")
        await zk.create(f"/zookeeper/quota{root}/zookeeper_stats", b"count=1,bytes=0")
        await zk.create(root + "/fits")
        with pytest.raises(QuotaExceededError):
            await zk.create(root + "/too-many")
        with pytest.raises(QuotaExceededError):
            await zk.set_data(root, bytes(11))
        await zk.set_data(root, bytes(10))


# --- the ensemble's configuration


@pytest.mark.rule(81)
async def test_reconfig_raises_where_it_is_disabled(zookeeper: Server | External) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(ReconfigDisabledError) as error:
            await zk.reconfig(leaving=["3"])
        assert error.value.code == -123


async def test_get_config_is_empty_on_a_standalone_server_whatever_the_chroot(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper, root) as zk:
        data, _ = await zk.get_config()
        assert data == b""


async def test_reconfig_raises_what_prevents_it(reconfigurable: Ensemble) -> None:
    leader = reconfigurable.leader()
    async with client(leader) as zk:
        with pytest.raises(NoAuthError):
            await zk.reconfig(leaving="3")
        await zk.add_auth("digest", SUPER.encode())
        with pytest.raises(BadVersionError):
            await zk.reconfig(leaving=["3"], from_config=1)
        with pytest.raises(BadArgumentsError):
            await zk.reconfig(joining=["nonsense"])
        ghosts = [f"server.{myid}=127.0.0.1:{myid}001:{myid}002;127.0.0.1:{myid}003" for myid in (4, 5)]
        with pytest.raises(NewConfigNoQuorumError):
            await zk.reconfig(joining=ghosts, leaving=[str(n) for n in (1, 2, 3) if n != myid_of(leader)])


async def test_reconfig_takes_a_member_out_and_in_again(reconfigurable: Ensemble) -> None:
    leader = reconfigurable.leader()
    out = next(str(myid_of(server)) for server in reconfigurable.servers if server is not leader)
    async with client(leader, "/somewhere", auth=[("digest", SUPER.encode())]) as zk:
        before, stat = await zk.get_config()
        assert before is not None
        lines = before.decode().splitlines()
        assert [line.partition("=")[0] for line in lines] == ["server.1", "server.2", "server.3", "version"]
        version = int(lines[3].partition("=")[2], 16)
        smaller, changed = await zk.reconfig(leaving=[out], from_config=version)
        assert smaller is not None
        assert f"server.{out}=" not in smaller.decode()
        assert changed.mzxid > stat.mzxid
        joining = next(line for line in lines if line.startswith(f"server.{out}="))
        whole, _ = await zk.reconfig(joining=[joining])
        assert whole is not None
        assert whole.decode().splitlines()[:3] == lines[:3]
        assert (await zk.get_config())[0] == whole


def myid_of(server: Server) -> int:
    return int((server.directory / "data" / "myid").read_text())


# --- watches that the server holds


async def test_check_watches_tells_whether_the_server_holds_one(server: Server, root: str) -> None:
    async with client(server) as zk:
        await zk.create(root)
        assert await zk.check_watches(root, WatcherType.DATA) is False
        await zk.get_data_and_watch(root)
        assert await zk.check_watches(root, WatcherType.DATA) is True
        assert await zk.check_watches(root, WatcherType.ANY) is True
        assert await zk.check_watches(root, WatcherType.CHILDREN) is False


# --- limits, and what the server does not know


def largest(path: str) -> int:
    """What setData may carry: the limit less header, path with length, data's length and version."""
    return MAX_REQUEST - 8 - (4 + len(path)) - 4 - 4


async def test_request_of_exactly_the_frame_limit_passes_and_its_znode_can_be_read(
    zookeeper: Server | External, root: str
) -> None:
    """The reply is longer than the limit for requests: data, Stat and header."""
    frames: list[Frame] = []
    async with client(zookeeper, on_frame=frames.append) as zk:
        await zk.create(root)
        data = (bytes(range(256)) * 4096)[: largest(root)]
        await zk.set_data(root, data)
        assert max(len(frame.payload) for frame in frames if frame.direction is Direction.SENT) == MAX_REQUEST
        assert (await zk.get_data(root))[0] == data
        assert max(len(frame.payload) for frame in frames if frame.direction is Direction.RECEIVED) > MAX_REQUEST
        await zk.delete(root)


async def test_request_of_one_byte_more_than_the_frame_limit_is_refused_locally(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, on_frame=frames.append) as zk:
        await zk.create(root)
        before = len(frames)
        with pytest.raises(LocalProtocolError, match="1048576 bytes, but a request may have 1048575 at most"):
            await zk.set_data(root, bytes(largest(root) + 1))
        assert frames[before:] == []
        assert (await zk.get_data(root))[0] == b"", "the connection is unharmed"


async def test_request_above_the_servers_limit_ends_in_connection_loss_when_the_clients_limit_allows_it(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper, max_frame=2**21) as zk:
        session_id = zk.session_id
        await zk.create(root)
        with pytest.raises(ConnectionLossError):
            await zk.set_data(root, bytes(largest(root) + 1))
        assert (await zk.get_data(root))[0] == b""
        assert zk.session_id == session_id


@pytest.mark.rule(25)
async def test_unknown_opcode_raises_unimplemented_and_costs_the_connection_only(
    zookeeper: Server | External, root: str
) -> None:
    unknown = Operation(999, "noSuchOperation", None, None)  # type: ignore[arg-type]
    async with client(zookeeper) as zk:
        last_zxid = zk.last_zxid
        session_id = zk.session_id
        await zk.create(root)
        # The server refuses it as it reads it, so its reply may overtake those to requests before it. Requests after
        # it may still be answered before the connection closes, or may never have left.
        states = zk.states()
        before = zk.get_data(root)
        refused: Call[None] = zk._call(unknown, None, lambda reply: None)
        after = [zk.get_data(root) for _ in range(3)]
        with pytest.raises(UnimplementedError):
            await refused
        for call in (before, *after):
            with suppress(ConnectionLossError):
                assert (await call)[0] == b""
        with trio.fail_after(PATIENCE):
            async for state in states:
                if state is KeeperState.DISCONNECTED:
                    break
        assert zk.last_zxid > last_zxid, "the reply's -1 is not a zxid"
        assert (await zk.get_data(root))[0] == b""
        assert zk.session_id == session_id


async def test_watcher_type_that_the_server_does_not_know_raises_marshalling_error(
    zookeeper: Server | External,
) -> None:
    async with client(zookeeper) as zk:
        with pytest.raises(MarshallingError):
            await zk._call(CHECK_WATCHES, CheckWatchesRequest("/", 99), lambda reply: None)
        assert await zk.exists("/") is not None, "the connection is unharmed"
