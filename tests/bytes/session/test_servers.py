"""The search for a server: order, pauses, and the report of what each did."""

from __future__ import annotations

from random import Random

import pytest

from zkwire.hosts import Host
from zkwire.session.servers import GROWTH_SERVED, PAUSE_FIRST, PAUSE_LAST, WAY, ServerSearch, is_a_while

A, B, C = Host("a", 1), Host("b", 2), Host("c", 3)


def test_round_is_all_hosts_in_random_order() -> None:
    search = ServerSearch([A, B, C], Random(1))
    rounds = [search.round() for _ in range(100)]
    assert all(sorted(hosts) == [A, B, C] for hosts in rounds)
    assert {hosts[0] for hosts in rounds} == {A, B, C}


@pytest.mark.rule(41)
def test_server_just_lost_comes_last_and_its_address_too() -> None:
    search = ServerSearch([A, B, C], Random(1))
    search.had_session(B, "10.0.0.1")
    assert {search.round()[-1] for _ in range(20)} == {B}
    assert {search.order(B, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])[-1] for _ in range(20)} == {"10.0.0.1"}
    assert {search.order(A, ["10.0.0.1", "10.0.0.2"])[-1] for _ in range(20)} == {"10.0.0.1", "10.0.0.2"}


def test_read_write_server_comes_first_once() -> None:
    search = ServerSearch([A, B, C], Random(1))
    search.had_session(B, "10.0.0.1")
    search.preferred = (B, "10.0.0.2")
    assert search.round()[0] == B
    assert search.order(B, ["10.0.0.1", "10.0.0.2"]) == ["10.0.0.2", "10.0.0.1"]
    assert search.preferred is None


@pytest.mark.rule(42)
def test_pause_doubles_to_three_seconds_is_jittered_and_starts_over_after_a_session() -> None:
    search = ServerSearch([A], Random(1))
    pauses = [search.next_pause() for _ in range(50)]
    assert 0.025 <= pauses[0] <= 0.05
    assert PAUSE_LAST / 2 <= min(pauses[7:]) < max(pauses[7:]) <= PAUSE_LAST
    search.tried(A, "the server closed the connection")
    assert search.next_pause() >= PAUSE_LAST / 2, "an attempt alone does not start it over"
    search.had_session(A, "10.0.0.1")
    assert search.next_pause() <= 0.05


@pytest.mark.rule(42)
def test_pause_goes_on_growing_while_sessions_do_not_stand_for_a_while() -> None:
    search = ServerSearch([A], Random(1))
    for count in range(1, 11):
        search.next_pause()
        search.had_session(A, "10.0.0.1", for_a_while=False)
        assert search.short == count
    assert search.next_pause() >= PAUSE_LAST / 2
    search.had_session(A, "10.0.0.1")
    assert search.short == 0
    assert search.next_pause() <= PAUSE_FIRST


@pytest.mark.rule(42)
def test_pause_grows_as_the_caller_says() -> None:
    search = ServerSearch([A], Random(1))
    for _ in range(40):
        assert search.next_pause(growth=GROWTH_SERVED) <= 2 * PAUSE_FIRST
    assert PAUSE_FIRST <= search.next_pause() <= 2 * PAUSE_FIRST + 1e-9


@pytest.mark.rule(42)
def test_pause_is_no_longer_than_the_caller_allows_and_no_shorter_than_the_first() -> None:
    search = ServerSearch([A], Random(1))
    pauses = [search.next_pause(0.5) for _ in range(50)]
    assert max(pauses) <= 0.5
    assert min(pauses[5:]) >= 0.25
    assert PAUSE_FIRST / 2 <= search.next_pause(0.001) <= PAUSE_FIRST
    assert PAUSE_LAST / 2 <= search.next_pause(100.0) <= PAUSE_LAST


@pytest.mark.rule(42)
@pytest.mark.parametrize("timeout", [0.2, 4.0, 10.0, 30.0, 600.0])
def test_session_that_two_clients_take_from_each_other_never_lasts_for_a_while(timeout: float) -> None:
    """Each client has the session for as long as the other one pauses."""
    assert not is_a_while(max(min(PAUSE_LAST, timeout / 4), PAUSE_FIRST), timeout)
    assert is_a_while(min(timeout / 2, 5.0), timeout)


@pytest.mark.rule(41)
@pytest.mark.parametrize(
    ("hosts", "whole", "left", "share"),
    [
        (1, 9.0, 9.0, 3.0),
        (1, 9.0, 3.0, 3.0),
        (2, 9.0, 9.0, 3.0),
        (2, 9.0, 3.0, 1.5),
        (3, 9.0, 9.0, 3.0),
        (3, 9.0, 3.0, 1.0),
        (5, 9.0, 9.0, 1.8),
        (1, 0.6, 0.6, 3 * WAY),  # a third of it might be shorter than the way to a server
        (2, 0.6, 0.6, WAY),
        (2, 1.2, 1.2, 0.6),
    ],
)
def test_attempt_gets_a_third_of_the_whole_and_several_hosts_share_what_is_left(
    hosts: int, whole: float, left: float, share: float
) -> None:
    search = ServerSearch([Host("a", port) for port in range(1, hosts + 1)], Random(1))
    assert search.way == WAY
    assert search.share(whole, left) == pytest.approx(share)


@pytest.mark.rule(41)
def test_share_allows_for_the_way_that_the_last_session_took() -> None:
    search = ServerSearch([A, B], Random(1))
    search.way = 1.0
    assert search.share(4.0, 4.0) == 2.0
    assert search.share(4.0, 4.0 / 3) == 1.0, "less would be of no use"
    assert search.share(9.0, 9.0) == 3.0
    search.way = 0.001
    assert search.share(0.6, 0.6) == pytest.approx(0.2)
    alone = ServerSearch([A], Random(1))
    alone.way = 1.0
    assert alone.share(2.0, 1.0) == 3.0, "there is nobody to share with"


def test_report_says_what_each_server_did_and_what_the_one_being_tried_has_not_done() -> None:
    search = ServerSearch([A, B], Random(1))
    assert search.report() == ""
    search.trying(A, "no TCP connection in time")
    assert search.report() == "a:1: no TCP connection in time"
    search.tried(A, "refused")
    search.trying(B, "no ConnectResponse in time")
    assert search.report() == "a:1: refused; b:2: no ConnectResponse in time"
    search.tried(B, "closed")
    search.trying(A, "no TCP connection in time")
    assert search.report() == "a:1: refused, then no TCP connection in time; b:2: closed"


def test_report_does_not_say_one_thing_twice() -> None:
    search = ServerSearch([A], Random(1))
    search.tried(A, "no TCP connection in time")
    search.trying(A, "no TCP connection in time")
    assert search.report() == "a:1: no TCP connection in time"
