"""The life of a session on real servers: timeouts, resuming, expiry, authentication, TLS, read-only mode, the end.

And of clients that find no session: what they say, and how soon.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import zkwire
from tests.conftest import External
from tests.support.live import PATIENCE, Line, client, cut, reached, restore, until_gone
from tests.support.processes import HOST, free_port, wait_until
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Ensemble, Server
from tests.support.real.special_servers import TlsServer, sasl_server, tls_server
from zkwire import (
    AuthFailedError,
    ClosedError,
    CreateMode,
    DigestMD5,
    Direction,
    Frame,
    KeeperState,
    NoNodeError,
    NoServerError,
    NotReadOnlyError,
    OpCode,
    ReplyTooLongError,
    SessionClosedRequireSaslAuthError,
    SessionExpiredError,
    SessionInfo,
)
from zkwire.records import ConnectRequest

DISCONNECTED, CONNECTED = KeeperState.DISCONNECTED, KeeperState.SYNC_CONNECTED
EPHEMERAL = CreateMode.EPHEMERAL
#: Above what a loaded machine adds to what is promised, in seconds.
SLACK = 5.0


@pytest.fixture(scope="module")
def server(distribution: Distribution) -> Iterator[Server]:
    """A server that may be frozen."""
    with Server(distribution) as private:
        yield private


@pytest.fixture(scope="module")
def tls(distribution: Distribution) -> Iterator[TlsServer]:
    with tls_server(distribution) as private:
        yield private


@pytest.fixture(scope="module")
def sasl(distribution: Distribution) -> Iterator[Server]:
    with sasl_server(distribution) as private:
        yield private


@pytest.fixture(scope="module")
def enforcing(distribution: Distribution) -> Iterator[Server]:
    """A server that serves nobody before a digest authentication."""
    options = ["-Dzookeeper.enforce.auth.enabled=true", "-Dzookeeper.enforce.auth.schemes=digest"]
    with Server(distribution, jvm=options) as private:
        yield private


def sent(frames: list[Frame], *opcodes: OpCode) -> list[Frame]:
    return [frame for frame in frames if frame.direction is Direction.SENT and frame.opcode in opcodes]


def connect_requests(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.types == (ConnectRequest,)]


# --- the timeout


@pytest.mark.rule(6)
@pytest.mark.parametrize(("asked", "got"), [(0.4, 0.5), (1.001, 1.001), (3600.0, 60.0)])
async def test_session_timeout_is_what_the_server_made_of_it(server: Server, asked: float, got: float) -> None:
    async with client(server, timeout=asked, connect_timeout=PATIENCE) as zk:
        assert zk.session_timeout == got


@pytest.mark.rule(7)
async def test_reconnect_asks_for_the_original_timeout(server: Server) -> None:
    frames: list[Frame] = []
    line = Line()
    async with client(server, timeout=3600.0, dial=line.dial, on_frame=frames.append) as zk:
        await cut(zk, line)
        await restore(zk, line)
        assert [int.from_bytes(frame.payload[12:16], "big") for frame in connect_requests(frames)] == [3_600_000] * 2


@pytest.mark.rule(36)
async def test_idle_session_outlives_its_timeout_by_pings(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, timeout=2.0, on_frame=frames.append) as zk:
        session_id = zk.session_id
        await zk.create(root, mode=EPHEMERAL)
        await trio.sleep(2.5)
        assert await zk.exists(root) is not None
        assert zk.session_id == session_id
        assert len(sent(frames, OpCode.PING)) >= 3
        assert len(connect_requests(frames)) == 1


# --- resuming, detaching, closing


async def test_session_is_resumed_with_its_ephemerals_after_detach(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as first:
        await first.create(root, mode=EPHEMERAL)
        first.detach()
    async with client(zookeeper, session=first.session) as second:
        assert second.session_id == first.session_id
        assert await second.get_ephemerals(root) == [root]
    async with client(zookeeper) as other:
        assert await other.exists(root) is None


RESUMING_PROGRAM = """
import sys, trio, zkwire

async def main(hosts, session_id, password):
    session = zkwire.SessionInfo(int(session_id), bytes.fromhex(password))
    async with zkwire.connect(hosts, session=session, new_session=False) as zk:
        print(zk.session_id, *await zk.get_ephemerals())
        zk.detach()

trio.run(main, *sys.argv[1:])
"""


FORKING_PROGRAM = """
import os, sys, trio, zkwire

async def states(zk):
    async for _ in zk.states():
        return

def misuses(zk, watch, call):
    async def await_call():
        await call
    async def leave():
        await zk.aclose()
    async def detach():
        zk.detach()
    async def disarm():
        watch.disarm()
    async def bound():
        await zk.bound().exists("/")
    async def add_watch():
        async with zk.add_watch("/", zkwire.AddWatchMode.PERSISTENT):
            pass
    return {
        "call": lambda: zk.exists("/"), "pending call": await_call, "auth": lambda: zk.add_auth("digest", b"u:p"),
        "wait": watch.wait, "states": lambda: states(zk), "aclose": leave, "detach": detach, "disarm": disarm,
        "bound": bound, "add_watch": add_watch,
    }

async def main(hosts, root):
    async with zkwire.connect(hosts) as zk:
        await zk.create(root, mode=zkwire.CreateMode.EPHEMERAL)
        seen = zk.states()
        _, watch = await zk.exists_and_watch(root)
        session_id = zk.session_id
        for name in [*misuses(zk, watch, None), "leave"]:
            call = zk.exists(root)
            pid = os.fork()
            if pid == 0:
                if name == "leave":
                    zk.exists("/")  # whose RuntimeError leaves the block, and all of trio
                try:
                    await misuses(zk, watch, call)[name]()
                except RuntimeError as error:
                    print(name, "->", error, flush=True)
                os._exit(0)
            # Not in the way of trio: this process is the one whose loop goes on.
            os.waitpid(pid, 0)
            assert await call is not None
            assert await zk.exists(root) is not None
        await trio.sleep(0.1)
        assert await zk.exists(root) is not None
        assert (zk.session_id, zk.state) == (session_id, zkwire.KeeperState.SYNC_CONNECTED)
        assert watch.event is None
        zk.detach()
        print("states", [state.name async for state in seen])

try:
    trio.run(main, *sys.argv[1:])
except RuntimeError as error:
    print("leave ->", error)
"""


async def test_forked_process_is_refused_and_its_parent_unharmed(zookeeper: Server | External, root: str) -> None:
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-c", FORKING_PROGRAM, zookeeper.address, root], capture_stdout=True, capture_stderr=True
        )
    lines = done.stdout.decode().splitlines()
    refused = "this client belongs to the parent process: a forked process makes its own by connect()"
    names = ["call", "pending call", "auth", "wait", "states", "aclose", "detach", "disarm", "bound", "add_watch"]
    assert lines == [*[f"{name} -> {refused}" for name in [*names, "leave"]], "states ['SYNC_CONNECTED', 'CLOSED']"]


async def test_forked_process_holds_no_tls_connection_of_its_parent(tls: TlsServer, root: str) -> None:
    def sockets() -> set[str]:
        return {os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if readable(number)}

    def readable(number: str) -> bool:
        with suppress(OSError):
            return os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        return False

    before = sockets()
    async with zkwire.connect(tls.secure_address, ssl_context=tls.certificates.client_context()) as zk:
        (own,) = sockets() - before
        pid = os.fork()
        if pid == 0:
            os._exit(1 if own in sockets() else 0)
        _, status = await trio.to_thread.run_sync(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await zk.create(root, mode=EPHEMERAL)


async def test_session_is_resumed_in_another_process(zookeeper: Server | External, root: str) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial) as zk:
        await zk.create(root, mode=EPHEMERAL)
        await cut(zk, line)
        arguments = [zookeeper.address, str(zk.session.id), zk.session.password.hex()]
        done = await trio.run_process([sys.executable, "-c", RESUMING_PROGRAM, *arguments], capture_stdout=True)
        assert done.stdout.decode().split() == [str(zk.session_id), root]
        await restore(zk, line)
        assert await zk.get_ephemerals(root) == [root], "and taken back"


@pytest.mark.rule(39, 47)
async def test_detached_session_keeps_its_ephemerals_until_its_timeout_and_is_expired_then(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as other:
        async with client(zookeeper, timeout=1.0, connect_timeout=PATIENCE) as zk:
            await zk.create(root, mode=EPHEMERAL)
            zk.detach()
            with pytest.raises(ClosedError):
                await zk.exists(root)
        began = trio.current_time()
        assert await other.exists(root) is not None
        await until_gone(other, root)
        assert trio.current_time() - began > 0.5
        with pytest.raises(SessionExpiredError):
            async with client(zookeeper, session=zk.session, new_session=False):
                raise AssertionError("not reached")
        async with client(zookeeper, session=zk.session) as fresh:
            assert fresh.session_id not in (0, zk.session_id)


@pytest.mark.rule(46)
async def test_leaving_the_block_closes_the_session_and_its_ephemerals_are_gone_at_once(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper) as other:
        async with client(zookeeper, on_frame=frames.append) as zk:
            await zk.create(root, mode=EPHEMERAL)
        assert await other.exists(root) is None
        assert zk.state is KeeperState.CLOSED
        assert frames[-1].opcode is OpCode.CLOSE_SESSION
        assert frames[-1].direction is Direction.RECEIVED
        with pytest.raises(SessionExpiredError):
            async with client(zookeeper, session=zk.session, new_session=False):
                raise AssertionError("not reached")


@pytest.mark.rule(33)
async def test_request_after_the_block_raises_closed(zookeeper: Server | External) -> None:
    async with client(zookeeper) as zk:
        pass
    with pytest.raises(ClosedError):
        await zk.exists("/")
    with pytest.raises(RuntimeError, match="entered once"):
        await zk.__aenter__()


# --- take-over


@pytest.mark.rule(44)
async def test_resuming_a_session_from_elsewhere_closes_the_older_connection(
    zookeeper: Server | External, root: str
) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial) as older:
        await older.create(root, mode=EPHEMERAL)
        line.bar()
        async with client(zookeeper, session=older.session) as newer:
            await reached(older, DISCONNECTED)
            assert await newer.get_ephemerals(root) == [root]
            newer.detach()
        await restore(older, line)
        assert older.session_id == newer.session_id
        assert await older.get_ephemerals(root) == [root]


@pytest.mark.rule(45)
async def test_resuming_with_a_wrong_password_is_refused_and_the_owner_goes_on(
    zookeeper: Server | External, root: str
) -> None:
    async with client(zookeeper) as owner:
        await owner.create(root, mode=EPHEMERAL)
        states = owner.states()
        assert await states.__anext__() is CONNECTED
        with pytest.raises(SessionExpiredError):
            async with client(zookeeper, session=SessionInfo(owner.session_id, b"x" * 16), new_session=False):
                raise AssertionError("not reached")
        with trio.fail_after(PATIENCE):
            assert [await states.__anext__(), await states.__anext__()] == [DISCONNECTED, CONNECTED]
        assert await owner.get_ephemerals(root) == [root]


@pytest.mark.rule(29, 30)
async def test_request_that_was_never_written_survives_the_loss_of_its_connection(
    zookeeper: Server | External, root: str
) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial) as zk:
        await zk.create(root)
        # The first is written at once, the rest are left to the writer, which finds the line cut.
        written = zk.set_data(root, b"1")
        unwritten = [zk.set_data(root, data) for data in (b"2", b"3")]
        line.cut()
        with suppress(zkwire.ConnectionLossError):  # its reply may have been faster
            await written
        line.restore()
        versions = [(await call).version for call in unwritten]
        assert versions[1] == versions[0] + 1
        assert (await zk.get_data(root))[0] == b"3"


# --- expiry


async def expire(zk: zkwire.Client, line: Line, server: Server | External) -> None:
    """Cut the line, end the session from elsewhere, restore the line."""
    await cut(zk, line)
    async with client(server, session=zk.session):
        pass
    line.restore()


@pytest.mark.rule(28, 39)
async def test_client_opens_a_new_session_after_expiry(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    line = Line()
    async with client(zookeeper, dial=line.dial, on_frame=frames.append) as zk:
        await zk.create(root, mode=EPHEMERAL)
        session_id = zk.session_id
        states = zk.states()
        await expire(zk, line, zookeeper)
        with trio.fail_after(PATIENCE):
            seen = [await states.__anext__() for _ in range(4)]
        assert seen == [CONNECTED, DISCONNECTED, KeeperState.EXPIRED, CONNECTED]
        assert zk.session_id not in (0, session_id)
        assert await zk.exists(root) is None
        last = connect_requests(frames)[-1].payload
        assert int.from_bytes(last[4:12], "big") == 0, "lastZxidSeen"
        assert int.from_bytes(last[16:24], "big") == 0, "sessionId"


@pytest.mark.rule(33)
async def test_client_without_new_session_is_over_after_expiry(zookeeper: Server | External) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial, new_session=False) as zk:
        states = zk.states()
        await expire(zk, line, zookeeper)
        with trio.fail_after(PATIENCE):
            assert [state async for state in states] == [CONNECTED, DISCONNECTED, KeeperState.EXPIRED]
        with pytest.raises(SessionExpiredError):
            await zk.exists("/")


async def test_request_that_waited_for_a_connection_does_not_cross_into_the_next_session(
    zookeeper: Server | External, root: str
) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial) as zk:
        await cut(zk, line)
        waiting = zk.create(root)
        async with client(zookeeper, session=zk.session):
            pass
        line.restore()
        with pytest.raises(SessionExpiredError):
            await waiting
        await reached(zk, CONNECTED)
        assert await zk.exists(root) is None


async def test_bound_client_ends_with_its_session(zookeeper: Server | External) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial) as zk:
        bound = zk.bound()
        assert await bound.exists("/") is not None
        assert bound.session == zk.session
        await expire(zk, line, zookeeper)
        await reached(zk, KeeperState.EXPIRED, CONNECTED)
        await reached(zk, CONNECTED)
        assert bound.expired
        with pytest.raises(SessionExpiredError):
            await bound.exists("/")
        assert await zk.exists("/") is not None


@pytest.mark.rule(37, 40)
async def test_client_gives_up_a_frozen_server_and_then_its_session_by_itself(server: Server, root: str) -> None:
    """A frozen server takes TCP connections, and answers nothing."""
    async with client(server, timeout=1.5, connect_timeout=PATIENCE) as zk:
        await zk.create(root, mode=EPHEMERAL)
        bound = zk.bound()
        states = zk.states()
        assert await states.__anext__() is CONNECTED
        server.suspend()
        try:
            waiting = zk.get_data(root)
            with pytest.raises(zkwire.ConnectionLossError) as loss:
                await waiting
            assert "no byte from the server" in loss.value.cause
            with pytest.raises(SessionExpiredError):
                await bound.get_data(root)
            assert [await states.__anext__(), await states.__anext__()] == [DISCONNECTED, KeeperState.EXPIRED]
        finally:
            server.resume()
        await reached(zk, CONNECTED)
        await until_gone(zk, root)


@pytest.mark.rule(10, 28, 40)
async def test_client_gives_up_its_session_when_the_only_server_has_lost_its_data(
    distribution: Distribution, root: str
) -> None:
    """Such a server is behind what the client has seen, and closes the connection without a word: that is no expiry."""
    with Server(distribution) as private:
        async with client(private, timeout=3.0, connect_timeout=PATIENCE) as zk:
            await zk.create(root)
            states = zk.states()

            def lose_data() -> None:
                private.kill()
                shutil.rmtree(private.directory / "data" / "version-2")
                private.start()

            await trio.to_thread.run_sync(lose_data)
            with trio.fail_after(PATIENCE):
                seen = [await states.__anext__() for _ in range(4)]
            assert seen == [CONNECTED, DISCONNECTED, KeeperState.EXPIRED, CONNECTED]
            assert await zk.exists(root) is None


# --- authentication


@pytest.mark.rule(12, 13, 16)
async def test_auths_go_out_first_on_every_connection_in_their_order(zookeeper: Server | External, root: str) -> None:
    frames: list[Frame] = []
    line = Line()
    async with client(
        zookeeper, dial=line.dial, on_frame=frames.append, auth=[("digest", b"a:1"), ("digest", b"b:2")]
    ) as zk:
        await zk.add_auth("digest", b"c:3")
        await zk.exists_and_watch(root)
        await cut(zk, line)
        frames.clear()
        waiting = zk.who_am_i()
        await restore(zk, line)
        users = {identity.user for identity in await waiting if identity.auth_scheme == "digest"}
        assert users == {"a", "b", "c"}
        order = [frame.opcode for frame in frames if frame.direction is Direction.SENT]
        assert order == [None, OpCode.AUTH, OpCode.AUTH, OpCode.AUTH, OpCode.SET_WATCHES, OpCode.WHO_AM_I]
        assert [frame.payload[-3:] for frame in sent(frames, OpCode.AUTH)] == [b"a:1", b"b:2", b"c:3"]
        answered = max(
            place for place, frame in enumerate(frames) if (frame.opcode, frame.direction) == (OpCode.AUTH, "<")
        )
        assert answered < frames.index(sent(frames, OpCode.SET_WATCHES)[0])


@pytest.mark.rule(14)
async def test_entering_raises_auth_failed_for_a_scheme_that_the_server_does_not_know(
    zookeeper: Server | External,
) -> None:
    with pytest.raises(AuthFailedError, match="AUTH_FAILED to auth scheme 'no-such-scheme'"):
        async with client(zookeeper, auth=[("no-such-scheme", b"x")]):
            raise AssertionError("not reached")


@pytest.mark.rule(14, 33)
async def test_add_auth_that_fails_ends_the_client_and_not_the_session(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        await zk.create(root, mode=EPHEMERAL)
        states = zk.states()
        with pytest.raises(AuthFailedError, match="no-such-scheme"):
            await zk.add_auth("no-such-scheme", b"x")
        with pytest.raises(AuthFailedError):
            await zk.exists("/")
        assert [state async for state in states] == [CONNECTED, KeeperState.AUTH_FAILED]
    async with client(zookeeper, session=zk.session, new_session=False) as again:
        assert await again.get_ephemerals(root) == [root]


async def test_server_that_enforces_authentication_ends_a_client_without_it(enforcing: Server) -> None:
    async with client(enforcing) as zk:
        with pytest.raises(SessionClosedRequireSaslAuthError):
            await zk.exists("/")
        with pytest.raises(AuthFailedError, match="requires an authentication"):
            await zk.exists("/")
        assert zk.state is KeeperState.AUTH_FAILED


async def test_server_that_enforces_authentication_serves_who_has_it(enforcing: Server, root: str) -> None:
    line = Line()
    async with client(enforcing, dial=line.dial, auth=[("digest", b"bob:pw")]) as zk:
        await zk.create(root, mode=EPHEMERAL)
        await cut(zk, line)
        await restore(zk, line)
        assert await zk.get_ephemerals(root) == [root]
    async with client(enforcing, auth=[("digest", b"bob:pw")]) as other:
        assert await other.exists(root) is None, "closeSession was served too"


# --- SASL


async def test_sasl_digest_md5_authenticates_on_every_connection(sasl: Server) -> None:
    line = Line()
    async with client(sasl, dial=line.dial, sasl=DigestMD5("bob", "secret")) as zk:
        for _ in range(2):
            assert ("sasl", "bob") in [(identity.auth_scheme, identity.user) for identity in await zk.who_am_i()]
            await cut(zk, line)
            await restore(zk, line)


async def test_sasl_with_a_wrong_password_raises_auth_failed(sasl: Server) -> None:
    with pytest.raises(AuthFailedError, match="SASL"):
        async with client(sasl, sasl=DigestMD5("bob", "wrong")):
            raise AssertionError("not reached")


@pytest.mark.rule(80)
async def test_sasl_on_a_server_without_it_raises_auth_failed(zookeeper: Server | External) -> None:
    with pytest.raises(AuthFailedError, match="has no SASL configured"):
        async with client(zookeeper, sasl=DigestMD5("bob", "secret")):
            raise AssertionError("not reached")


# --- TLS


async def test_tls_serves_requests_and_large_data_over_a_verified_connection(tls: TlsServer, root: str) -> None:
    context = tls.certificates.client_context()
    with trio.fail_after(60):
        async with zkwire.connect(tls.secure_address, 10.0, ssl_context=context) as zk:
            data = os.urandom(900_000)
            await zk.create(root, data)
            calls = [zk.get_data(root) for _ in range(5)]
            assert [(await call)[0] == data for call in calls] == [True] * 5
            assert "x509" in [identity.auth_scheme for identity in await zk.who_am_i()]


async def test_tls_name_with_the_dot_of_a_full_dns_name_is_asked_for_and_checked_without_it(tls: TlsServer) -> None:
    class Local(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: object, port: object, *_: object, **__: object) -> Any:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        async def getnameinfo(self, sockaddr: object, flags: int) -> Any:
            raise AssertionError("a client resolves names, never addresses")

    trio.socket.set_custom_hostname_resolver(Local())
    context = tls.certificates.client_context()
    async with zkwire.connect(f"localhost.:{tls.secure_port}", 10.0, ssl_context=context, connect_timeout=60) as zk:
        assert await zk.exists("/")


async def no_server(hosts: str, ssl_context: ssl.SSLContext | None = None, *, wait: float = 1.0) -> str:
    """The message of the NoServerError that entering raises after `wait` seconds."""
    with trio.fail_after(60):
        with pytest.raises(NoServerError) as error:
            async with zkwire.connect(hosts, 10.0, connect_timeout=wait, ssl_context=ssl_context):
                raise AssertionError("not reached")
        return str(error.value)


async def test_tls_that_does_not_come_about_ends_in_no_server_saying_why(tls: TlsServer) -> None:
    """All wrong ways at once, since each takes the whole connect_timeout."""
    trusting = tls.certificates.client_context()
    anonymous = tls.certificates.client_context(with_certificate=False)
    wrong_name = f"127.1:{tls.secure_port}"  # 127.0.0.1 by a name that the certificate does not have
    ways: dict[str, tuple[str, ssl.SSLContext | None, str]] = {
        "wrong name": (wrong_name, trusting, f"{wrong_name}: SSLCertVerificationError: .* '?127.1'?"),
        "unknown authority": (tls.secure_address, ssl.create_default_context(), ": SSLCertVerificationError: "),
        "no certificate of ours": (
            tls.secure_address,
            anonymous,
            f"{tls.secure_address}: .*(?i:certificate|alert|closed|reset)",
        ),
        "plain client on a TLS port": (tls.secure_address, None, f"{tls.secure_address}: the server closed the conn"),
        "TLS client on a plain port": (tls.address, trusting, f"{tls.address}: (SSL|ConnectionReset)"),
    }
    said: dict[str, str] = {}

    async def try_way(name: str, hosts: str, context: ssl.SSLContext | None) -> None:
        said[name] = await no_server(hosts, context, wait=5.0)

    async with trio.open_nursery() as nursery:
        for name, (hosts, context, _) in ways.items():
            nursery.start_soon(try_way, name, hosts, context)
    wrong = {name: said[name] for name, (*_, wanted) in ways.items() if not re.search(wanted, said[name])}
    assert wrong == {}


# --- read-only mode


@pytest.fixture(scope="module")
def read_only(distribution: Distribution) -> Iterator[Ensemble]:
    """Three servers, of which one that is left alone serves reads."""
    config = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
    with Ensemble(distribution, config=config, jvm=["-Dreadonlymode.enabled=true"]) as servers:
        yield servers


async def left_alone(ensemble: Ensemble) -> Server:
    """The one server that is not killed, once it is in read-only mode."""

    def kill() -> Server:
        survivor, *others = ensemble.servers
        for server in others:
            server.kill()
        assert wait_until(lambda: survivor.mode() == "read-only", 60.0)
        return survivor

    return await trio.to_thread.run_sync(kill)


@pytest.mark.rule(17)
async def test_read_only_server_serves_reads_until_the_quorum_is_back(read_only: Ensemble, root: str) -> None:
    await trio.to_thread.run_sync(read_only.start)
    async with client(read_only.servers[0]) as zk:
        await zk.create(root, b"data")
    await left_alone(read_only)
    frames: list[Frame] = []
    with trio.fail_after(90):
        async with zkwire.connect(
            read_only.hosts, 10.0, connect_timeout=30.0, read_only=True, on_frame=frames.append
        ) as zk:
            assert zk.state is KeeperState.CONNECTED_READ_ONLY
            assert (await zk.get_data(root))[0] == b"data"
            with pytest.raises(NotReadOnlyError):
                await zk.set_data(root, b"")
            with pytest.raises(NotReadOnlyError):
                await zk.multi([zkwire.Check(root)])
            await trio.to_thread.run_sync(read_only.start)
            await reached(zk, CONNECTED)
            await zk.set_data(root, b"written")
            ids = [int.from_bytes(frame.payload[16:24], "big") for frame in connect_requests(frames)]
            assert set(ids) == {0}, "a read-only server's session id is never shown to another"


async def test_read_only_server_is_no_server_for_a_client_that_did_not_ask_for_one(read_only: Ensemble) -> None:
    alone = await left_alone(read_only)
    assert f"{alone.address}: the server closed the connection" in await no_server(alone.address, wait=3.0)


async def test_client_leaves_a_read_only_server_for_a_read_write_one_that_it_finds(
    read_only: Ensemble, distribution: Distribution
) -> None:
    """The two servers have nothing to do with each other: so only the search can have moved the client."""
    alone = await left_alone(read_only)
    other = Server(distribution)
    try:
        with trio.fail_after(90):
            hosts = f"{alone.address},{other.address}"
            async with zkwire.connect(hosts, 10.0, connect_timeout=30.0, read_only=True) as zk:
                assert zk.state is KeeperState.CONNECTED_READ_ONLY
                await trio.to_thread.run_sync(other.start)
                await reached(zk, CONNECTED)
                await zk.create("/here")
    finally:
        other.close()


# --- causes of storms of connections


@pytest.fixture(scope="module")
def narrow(distribution: Distribution) -> Iterator[Server]:
    """A server that takes requests of 4 kB at most."""
    with Server(distribution, jvm=["-Djute.maxbuffer=4096"]) as private:
        yield private


@pytest.mark.rule(56)
async def test_watches_come_back_on_a_server_that_takes_less_than_they_need_in_one_request(
    narrow: Server, root: str
) -> None:
    """The server closes the connection at the first setWatches of 12 kB, and sends no error."""
    line, frames = Line(), list[Frame]()
    async with client(narrow, dial=line.dial, on_frame=frames.append) as zk:
        await zk.create(root)
        paths = [f"{root}/{number:030}" for number in range(200)]
        watches = [(await zk.exists_and_watch(path))[1] for path in paths]
        session_id = zk.session_id
        await cut(zk, line)
        line.restore()
        with trio.fail_after(PATIENCE):
            for path, watch in zip(paths[::50], watches[::50], strict=True):
                async with client(narrow) as other:
                    await other.create(path)
                assert (await watch.wait()).path == path
        assert zk.session_id == session_id
        restoring = sent(frames, OpCode.SET_WATCHES)
        assert len(restoring[0].payload) > 4096
        assert len(connect_requests(frames)) <= 6


async def test_reply_longer_than_max_reply_fails_its_call_and_nothing_else(
    zookeeper: Server | External, root: str
) -> None:
    frames: list[Frame] = []
    async with client(zookeeper, max_reply=50_000, on_frame=frames.append) as zk:
        await zk.create(root, bytes(900_000))
        await zk.create(f"{root}/small", b"small")
        calls = [zk.get_data(path) for path in (f"{root}/small", root, f"{root}/small")]
        watching = zk.get_data_and_watch(root)
        assert (await calls[0])[0] == (await calls[2])[0] == b"small"
        with pytest.raises(
            ReplyTooLongError, match=f"^getData {root}: expected a reply of at most 50000 bytes, got one"
        ):
            await calls[1]
        with pytest.raises(ReplyTooLongError):
            await watching
        await zk.set_data(root, b"")
        assert (await zk.get_data(root))[0] == b""
        assert len(connect_requests(frames)) == 1
        assert len(sent(frames, OpCode.REMOVE_WATCHES)) == 1


@pytest.mark.rule(42, 44)
async def test_two_clients_on_one_session_make_no_storm_and_are_told(
    zookeeper: Server | External, caplog: pytest.LogCaptureFixture
) -> None:
    frames: list[Frame] = []
    async with (
        client(zookeeper, on_frame=frames.append) as zk,
        client(zookeeper, session=zk.session, on_frame=frames.append) as other,
    ):
        states = zk.states()
        await trio.sleep(6)
        attempts = len(connect_requests(frames))
        assert attempts <= 40, "20 a second before"
        with trio.fail_after(PATIENCE):
            while "connections in a row ended so soon" not in states.reason:
                await states.__anext__()
        other.detach()
        await reached(zk, CONNECTED)
        assert zk.session_id == other.session_id
    assert any("Does another client use this session" in record.getMessage() for record in caplog.records)


# --- no server, or none of ours


async def test_entering_raises_no_server_with_each_server_and_what_it_did() -> None:
    dead = [f"{HOST}:{free_port()}" for _ in range(3)]
    began = trio.current_time()
    message = await no_server(",".join(dead))
    assert trio.current_time() - began < 1.0 + SLACK
    assert "no session within 1 s" in message
    for server in dead:
        assert f"{server}: ConnectionRefusedError" in message


async def test_entering_names_a_host_that_cannot_be_resolved() -> None:
    message = await no_server("no-such-host.invalid:2181", wait=2.0)
    assert "no-such-host.invalid:2181: name not resolved" in message


@pytest.mark.rule(41)
async def test_client_finds_the_one_server_that_lives_among_dead_ones(zookeeper: Server | External) -> None:
    dead = [f"{HOST}:{free_port()}" for _ in range(4)]
    with trio.fail_after(60):
        for _ in range(5):
            async with zkwire.connect(",".join([*dead, zookeeper.address]), 10.0) as zk:
                assert await zk.exists("/") is not None


@asynccontextmanager
async def pretender(handler: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncIterator[str]:
    """The address of something that listens and is no ZooKeeper."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host=HOST))
        yield f"{HOST}:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_server_that_answers_something_else_is_described() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.receive_some()

    async with pretender(answer) as address:
        assert f"{address}: RemoteProtocolError: frame length 1213486160" in await no_server(address)


async def test_server_that_accepts_and_closes_is_described() -> None:
    async def close(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with pretender(close) as address:
        assert f"{address}: the server closed the connection" in await no_server(address)


async def test_server_that_accepts_and_never_answers_is_described() -> None:
    async with pretender(lambda stream: trio.sleep_forever()) as address:
        began = trio.current_time()
        message = await no_server(address)
        assert trio.current_time() - began < 1.0 + SLACK
        assert f"{address}: no ConnectResponse" in message


async def test_server_is_described_by_what_it_did_before_also_while_it_is_tried_again() -> None:
    attempts = 0

    async def close_the_first(stream: trio.SocketStream) -> None:
        nonlocal attempts
        attempts += 1
        await stream.receive_some()
        if attempts > 1:
            await trio.sleep_forever()
        await stream.aclose()

    async with pretender(close_the_first) as address:
        message = await no_server(address)
        assert f"{address}: the server closed the connection, then no ConnectResponse in time" in message


@pytest.mark.rule(40, 41)
async def test_client_passes_by_a_server_that_never_answers(zookeeper: Server | External) -> None:
    async with pretender(lambda stream: trio.sleep_forever()) as address:
        with trio.fail_after(60):
            for _ in range(4):
                async with zkwire.connect(f"{address},{zookeeper.address}", 1.0, connect_timeout=PATIENCE) as zk:
                    assert await zk.exists("/") is not None


async def test_client_reaches_a_server_by_ipv6(distribution: Distribution) -> None:
    with Server(distribution, config={"clientPortAddress": "::"}) as dual:
        with trio.fail_after(60):
            async with zkwire.connect(f"[::1]:{dual.port}", 10.0) as zk:
                assert await zk.exists("/") is not None


# --- the end of the block


async def test_closing_is_bounded_when_the_server_is_frozen(server: Server) -> None:
    with trio.fail_after(60):
        async with zkwire.connect(server.address, 60.0) as zk:
            server.suspend()
            began = trio.current_time()
        server.resume()
        assert trio.current_time() - began < 2.0 + SLACK
        assert zk.state is KeeperState.CLOSED


async def test_closing_without_a_connection_takes_no_time(zookeeper: Server | External) -> None:
    line = Line()
    with trio.fail_after(60):
        async with zkwire.connect(zookeeper.address, 30.0, dial=line.dial) as zk:
            await cut(zk, line)
            waiting = zk.exists("/")
            began = trio.current_time()
        assert trio.current_time() - began < 1.0
        with pytest.raises(ClosedError):
            await waiting


async def test_closing_lets_earlier_requests_finish(zookeeper: Server | External, root: str) -> None:
    async with client(zookeeper) as zk:
        calls = [zk.create(root), *(zk.create(f"{root}/{number}") for number in range(200))]
    for call in calls:
        assert await call
    async with client(zookeeper) as other:
        assert len(await other.get_children(root)) == 200


class OwnError(Exception):
    pass


async def test_exception_of_the_block_leaves_it_as_itself(zookeeper: Server | External) -> None:
    with pytest.raises(OwnError) as error:
        async with client(zookeeper):
            raise OwnError("mine")
    assert error.value.args == ("mine",)


async def test_server_error_leaves_the_block_as_itself(zookeeper: Server | External, root: str) -> None:
    with pytest.raises(NoNodeError):
        async with client(zookeeper) as zk:
            await zk.get_data(root)


async def test_cancellation_passes_through_the_block_and_closes_the_session(
    zookeeper: Server | External, root: str
) -> None:
    with trio.CancelScope() as scope:
        async with client(zookeeper) as zk:
            await zk.create(root, mode=EPHEMERAL)
            scope.cancel()
            await zk.exists(root)
            raise AssertionError("not reached")
    assert scope.cancelled_caught
    assert zk.state is KeeperState.CLOSED
    async with client(zookeeper) as other:
        assert await other.exists(root) is None


async def test_exception_of_on_frame_leaves_the_block_as_itself(zookeeper: Server | External) -> None:
    def on_frame(frame: Frame) -> None:
        if frame.opcode is OpCode.SYNC and frame.direction is Direction.RECEIVED:
            raise OwnError

    with pytest.raises(OwnError):
        async with client(zookeeper, on_frame=on_frame) as zk:
            await zk.sync()


async def test_cancellation_ends_entering_a_block_that_finds_no_server() -> None:
    with trio.move_on_after(0.2) as scope:
        async with zkwire.connect(f"{HOST}:{free_port()}", connect_timeout=float("inf")):
            raise AssertionError("not reached")
    assert scope.cancelled_caught


async def test_client_leaves_no_task_and_no_socket_behind(zookeeper: Server | External, root: str) -> None:
    open_before = len(os.listdir("/dev/fd"))
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    line = Line()
    async with client(zookeeper, dial=line.dial) as zk, zk.add_watch(root, zkwire.AddWatchMode.PERSISTENT):
        for _ in range(3):
            await cut(zk, line)
            await restore(zk, line)
    del line, zk
    for hosts in (f"{HOST}:{free_port()}", f"{HOST}:{free_port()},{HOST}:{free_port()}"):
        with pytest.raises(NoServerError):
            async with zkwire.connect(hosts, connect_timeout=0.2):
                raise AssertionError("not reached")
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before
    assert len(os.listdir("/dev/fd")) == open_before


# --- the stream of states


async def test_states_yields_the_current_state_first_then_each_change_and_ends_after_closing(
    zookeeper: Server | External,
) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial) as zk:
        states = zk.states()
        await cut(zk, line)
        await restore(zk, line)
    assert [state async for state in states] == [CONNECTED, DISCONNECTED, CONNECTED, KeeperState.CLOSED]
    assert [state async for state in zk.states()] == [KeeperState.CLOSED]


async def test_states_stream_that_was_closed_yields_nothing_more(zookeeper: Server | External) -> None:
    line = Line()
    async with client(zookeeper, dial=line.dial) as zk:
        states = zk.states()
        await states.aclose()
        await cut(zk, line)
        await restore(zk, line)
    assert [state async for state in states] == []
