"""Authentication on real servers: auths, SASL, and servers that enforce it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import External
from tests.support.behind import Line, heal, on_line, part
from tests.support.live import CONNECTED, EPHEMERAL, client, sent
from tests.support.real.distributions import Distribution
from tests.support.real.servers import Server
from tests.support.real.special_servers import sasl_server
from zkwire import AuthFailedError, DigestMD5, Direction, Frame, KeeperState, OpCode, SessionClosedRequireSaslAuthError


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
        await part(zk, line)
        frames.clear()
        waiting = zk.who_am_i()
        await heal(zk, line)
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
    async with on_line(enforcing, auth=[("digest", b"bob:pw")]) as (zk, line):
        await zk.create(root, mode=EPHEMERAL)
        await part(zk, line)
        await heal(zk, line)
        assert await zk.get_ephemerals(root) == [root]
    async with client(enforcing, auth=[("digest", b"bob:pw")]) as other:
        assert await other.exists(root) is None, "closeSession was served too"


# --- SASL


async def test_sasl_digest_md5_authenticates_on_every_connection(sasl: Server) -> None:
    async with on_line(sasl, sasl=DigestMD5("bob", "secret")) as (zk, line):
        for _ in range(2):
            assert ("sasl", "bob") in [(identity.auth_scheme, identity.user) for identity in await zk.who_am_i()]
            await part(zk, line)
            await heal(zk, line)


async def test_sasl_with_a_wrong_password_raises_auth_failed(sasl: Server) -> None:
    with pytest.raises(AuthFailedError, match="SASL"):
        async with client(sasl, sasl=DigestMD5("bob", "wrong")):
            raise AssertionError("not reached")


@pytest.mark.rule(80)
async def test_sasl_on_a_server_without_it_raises_auth_failed(zookeeper: Server | External) -> None:
    with pytest.raises(AuthFailedError, match="has no SASL configured"):
        async with client(zookeeper, sasl=DigestMD5("bob", "secret")):
            raise AssertionError("not reached")
