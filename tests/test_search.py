"""The search for a server: order, pauses, and the report of what each did."""

from __future__ import annotations

from random import Random

import pytest

from zkwire.hosts import Host
from zkwire.search import PAUSE_LAST, Search

A, B, C = Host("a", 1), Host("b", 2), Host("c", 3)


def test_round_is_all_hosts_in_random_order() -> None:
    search = Search([A, B, C], Random(1))
    rounds = [search.round() for _ in range(100)]
    assert all(sorted(hosts) == [A, B, C] for hosts in rounds)
    assert {hosts[0] for hosts in rounds} == {A, B, C}


@pytest.mark.rule(41)
def test_server_just_lost_comes_last_and_its_address_too() -> None:
    search = Search([A, B, C], Random(1))
    search.stood(B, "10.0.0.1")
    assert {search.round()[-1] for _ in range(20)} == {B}
    assert {search.order(B, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])[-1] for _ in range(20)} == {"10.0.0.1"}
    assert {search.order(A, ["10.0.0.1", "10.0.0.2"])[-1] for _ in range(20)} == {"10.0.0.1", "10.0.0.2"}


def test_read_write_server_comes_first_once() -> None:
    search = Search([A, B, C], Random(1))
    search.stood(B, "10.0.0.1")
    search.preferred = (B, "10.0.0.2")
    assert search.round()[0] == B
    assert search.order(B, ["10.0.0.1", "10.0.0.2"]) == ["10.0.0.2", "10.0.0.1"]
    assert search.preferred is None


@pytest.mark.rule(42)
def test_pause_doubles_to_three_seconds_is_jittered_and_starts_over_when_a_session_stood() -> None:
    search = Search([A], Random(1))
    pauses = [search.next_pause() for _ in range(50)]
    assert 0.025 <= pauses[0] <= 0.05
    assert PAUSE_LAST / 2 <= min(pauses[7:]) < max(pauses[7:]) <= PAUSE_LAST
    search.tried(A, "the server closed the connection")
    assert search.next_pause() >= PAUSE_LAST / 2, "an attempt alone does not start it over"
    search.stood(A, "10.0.0.1")
    assert search.next_pause() <= 0.05


def test_report_says_what_each_server_did_and_what_the_one_being_tried_has_not_done() -> None:
    search = Search([A, B], Random(1))
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
    search = Search([A], Random(1))
    search.tried(A, "no TCP connection in time")
    search.trying(A, "no TCP connection in time")
    assert search.report() == "a:1: no TCP connection in time"
