"""DIGEST-MD5 with real servers, where names and passwords are not ASCII."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

import zkwire
from tests.support.real.servers import Distribution, Server
from tests.support.real.special_servers import sasl_server
from zkwire import DigestMD5

USERS = {
    "bérta": "sécret",  # both in ISO 8859-1, which is what is hashed then
    "ann": "sécr€t",  # which has no euro sign: UTF-8
}


@pytest.fixture(scope="module")
def sasl(distribution: Distribution) -> Iterator[Server]:
    with sasl_server(distribution, users=USERS) as server:
        yield server


@pytest.mark.parametrize("name", USERS)
async def test_sasl_authenticates_a_user_whose_name_or_password_is_not_ascii(sasl: Server, name: str) -> None:
    async with zkwire.connect(sasl.address, sasl=DigestMD5(name, USERS[name])) as zk:
        identities = {(identity.auth_scheme, identity.user) for identity in await zk.who_am_i()}
    assert ("sasl", name) in identities


async def test_one_mechanism_authenticates_twelve_clients_at_once(sasl: Server) -> None:
    mechanism = DigestMD5("ann", USERS["ann"])
    identities: list[str | None] = []

    async def connect() -> None:
        async with zkwire.connect(sasl.address, sasl=mechanism) as zk:
            found = await zk.who_am_i()
        identities.extend(identity.user for identity in found if identity.auth_scheme == "sasl")

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(connect)
    assert identities == ["ann"] * 12


async def test_sasl_refuses_a_password_that_differs_in_one_accent(sasl: Server) -> None:
    with pytest.raises(zkwire.AuthFailedError):
        async with zkwire.connect(sasl.address, sasl=DigestMD5("bérta", "secret")):
            pass


class Broken:
    """A mechanism that fails when the server has answered."""

    def start(self) -> bytes:
        return b""

    def step(self, challenge: bytes) -> bytes | None:
        raise KeyError("of the mechanism")


async def test_failure_of_a_mechanism_closes_the_session_on_the_server(sasl: Server) -> None:
    def sessions() -> str:
        return next(line for line in sasl.four_letter("mntr").splitlines() if line.startswith("zk_global_sessions"))

    before = sessions()
    with pytest.raises(zkwire.AuthFailedError, match="SASL: the mechanism raised KeyError") as caught:
        async with zkwire.connect(sasl.address, 60.0, sasl=Broken()):
            raise AssertionError("not reached")
    assert isinstance(caught.value.__cause__, KeyError)
    with trio.fail_after(20):  # a third of the session timeout
        while sessions() != before:  # noqa: ASYNC110  # the server has no event for it
            await trio.sleep(0.05)


async def test_sasl_in_fips_mode_says_how_to_turn_that_off_where_the_server_refuses_digest_md5(
    distribution: Distribution,
) -> None:
    with sasl_server(distribution, config={"fips-mode": "true"}) as server:
        client = zkwire.connect(server.address, sasl=DigestMD5("bob", "secret"))
        if distribution.version_tuple < (3, 9, 6):  # which takes it all the same
            async with client as zk:
                assert "sasl" in [identity.auth_scheme for identity in await zk.who_am_i()]
            return
        with pytest.raises(zkwire.AuthFailedError, match=r"AUTH_FAILED \(-115\).*-Dzookeeper\.fips-mode=false"):
            async with client:
                pass
