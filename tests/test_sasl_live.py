"""DIGEST-MD5 with real servers, where names and passwords are not ASCII."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import zkwire
from tests.servers import Distribution, Server
from tests.special_servers import sasl_server
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


async def test_sasl_refuses_a_password_that_differs_in_one_accent(sasl: Server) -> None:
    with pytest.raises(zkwire.AuthFailedError):
        async with zkwire.connect(sasl.address, sasl=DigestMD5("bérta", "secret")):
            pass
