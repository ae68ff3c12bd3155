"""TLS to a real server: verified, refused with the reason, and not shared with a forked process."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import zkwire
from tests.support.live import EPHEMERAL, no_server
from tests.support.real.distributions import Distribution
from tests.support.real.special_servers import TlsServer, tls_server


@pytest.fixture(scope="module")
def tls(distribution: Distribution) -> Iterator[TlsServer]:
    with tls_server(distribution) as private:
        yield private


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
