"""Names of hosts: resolved at each attempt, and named with the reason when they cannot be."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.support.fake.memory import MemoryServers, ServerSide, refuse
from tests.support.fake.scripts import connect
from zkwire import KeeperState, NoServerError


class Resolver(trio.abc.HostnameResolver):
    """Answers each look-up with the next of these lists of addresses."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        self.asked.append(host.decode() if isinstance(host, bytes) else host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise AssertionError("a client resolves names, never addresses")


@pytest.mark.rule(43)
async def test_host_name_is_resolved_at_every_attempt_and_all_its_addresses_are_tried(
    autojump_clock: MockClock,
) -> None:
    resolver = Resolver(["10.0.0.1", "10.0.0.2"], ["10.0.0.3"])
    trio.socket.set_custom_hostname_resolver(resolver)
    servers = MemoryServers(refuse, refuse, ServerSide.serve)
    async with connect(servers, "zoo.example:2181"):
        assert sorted(address for _, address in servers.dialled[:2]) == ["10.0.0.1", "10.0.0.2"]
        assert servers.dialled[2][1] == "10.0.0.3"
        assert resolver.asked == ["zoo.example", "zoo.example"]


async def test_name_that_is_not_resolved_is_named_with_the_reason(autojump_clock: MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver([]))
    with pytest.raises(NoServerError, match=r"nowhere\.example:2181: name not resolved: .*unknown name"):
        async with connect(MemoryServers(), "nowhere.example", connect_timeout=1):
            pass


async def test_scope_id_of_an_address_is_kept(autojump_clock: MockClock) -> None:
    index = socket.if_nametoindex("lo")
    servers = MemoryServers()
    async with connect(servers, "[fe80::1%lo]:2182") as zk:
        assert [address for _, address in servers.dialled] == [f"fe80::1%{index}"]
        assert zk.state is KeeperState.SYNC_CONNECTED


async def test_lookup_that_hangs_is_shared_and_not_started_again(autojump_clock: MockClock) -> None:
    class Slow(Resolver):
        async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
            found = await super().getaddrinfo(*args, **kwargs)
            await trio.sleep(100)
            return found

    resolver = Slow(["10.0.0.1"])
    trio.socket.set_custom_hostname_resolver(resolver)
    servers = MemoryServers()
    with pytest.raises(NoServerError, match="not resolved"):
        async with connect(servers, "slow.example", 3.0, connect_timeout=90):
            pass
    async with connect(servers, "slow.example", 3.0, connect_timeout=90):
        assert 100 <= trio.current_time() <= 104
    assert resolver.asked == ["slow.example"]


async def test_name_that_is_none_is_named_while_the_other_hosts_are_tried(autojump_clock: MockClock) -> None:
    with pytest.raises(NoServerError, match=r"a\.\.b:2181: name not resolved: .*label empty"):
        async with connect(MemoryServers(refuse), "a..b,10.0.0.1"):
            pass
    async with connect(MemoryServers(), "a..b,10.0.0.1") as zk:
        assert zk.state is KeeperState.SYNC_CONNECTED


async def test_resolver_that_never_answers_takes_no_more_than_its_share(autojump_clock: MockClock) -> None:
    class Stuck(Resolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            await trio.sleep_forever()

    trio.socket.set_custom_hostname_resolver(Stuck([]))
    servers = MemoryServers()
    began = trio.current_time()
    async with connect(servers, "stuck.example,10.0.0.1", timeout=9.0):
        assert trio.current_time() - began <= 4.5 + 0.01
