"""The arithmetic of the lease. T is 24 s, so that T/4 is 6, T/6 is 4 and T/12 is 2; what drift costs is 0.48."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from election.lease import DRIFT, Lease

T = 24.0
WHOLE = T * (1 - DRIFT)


def proved(lease: Lease, sent: float, heard: float | None = None, took: float = 0.1) -> bool:
    return lease.committed(sent, sent + took, heard)


def test_lease_is_over_before_the_first_proof() -> None:
    lease = Lease(T)
    assert lease.end == -math.inf
    assert lease.cancel_at == -math.inf


@pytest.mark.rule("L1", "L3")
def test_lease_counts_from_what_was_answered_a_quarter_before_the_proof_was_sent() -> None:
    lease = Lease(T)
    assert proved(lease, sent=100.0, heard=93.5, took=1.9)
    assert lease.end == 93.5 + WHOLE
    assert lease.cancel_at == 93.5 + WHOLE - T / 6


@pytest.mark.rule("L1")
def test_time_of_the_reply_does_not_matter() -> None:
    early, late = Lease(T), Lease(T)
    proved(early, 100.0, 90.0, took=0.0)
    proved(late, 100.0, 90.0, took=1.9)
    assert early.end == late.end


def test_connect_request_counts_at_once() -> None:
    lease = Lease(T)
    assert proved(lease, sent=100.0, heard=99.9)
    assert lease.end == 99.9 + WHOLE


def test_what_was_sent_behind_the_proof_does_not_count() -> None:
    """By then the connection may be another one, whose ConnectRequest was not answered yet."""
    lease = Lease(T)
    assert not proved(lease, sent=100.0, heard=100.5)
    assert lease.end == -math.inf


def test_without_the_clients_knowledge_earlier_proofs_count() -> None:
    lease = Lease(T)
    assert not proved(lease, 100.0)
    assert not proved(lease, 106.0)  # by 100 the first was not answered
    assert proved(lease, 106.1)
    assert lease.end == 100.0 + WHOLE
    assert proved(lease, 113.0)
    assert lease.end == 106.1 + WHOLE


def test_steady_proofs_keep_the_lease_two_thirds_of_the_timeout_ahead() -> None:
    lease = Lease(T)
    for sent in range(0, 200, 2):
        proved(lease, float(sent))
    assert lease.end == 198 - 6 - 2 + WHOLE  # what was sent at 192 was answered a little later
    assert lease.end - 198 > 0.64 * T


def test_end_never_moves_back() -> None:
    lease = Lease(T)
    proved(lease, 100.0, 93.0)
    end = lease.end
    assert proved(lease, 102.0, 80.0)  # what the client knows may be early
    assert lease.end == end


def test_slow_proof_does_not_count_nor_do_those_right_behind_it() -> None:
    lease = Lease(T)
    proved(lease, 100.0, 93.0)
    end = lease.end
    assert not proved(lease, 102.0, 95.0, took=2.1)  # answered at 104.1
    assert not proved(lease, 104.1, 98.0)
    assert not proved(lease, 110.0, 103.0)
    assert lease.end == end
    assert proved(lease, 110.2, 104.1)
    assert lease.end == 104.1 + WHOLE


@pytest.mark.rule("L2")
def test_answers_count_in_full_where_they_are_asked_to() -> None:
    lease = Lease(T)
    lease.answered(100.0)
    assert lease.end == 100.0 + WHOLE
    lease.answered(90.0)
    assert lease.end == 100.0 + WHOLE


@pytest.mark.rule("L3")
def test_shorter_timeout_shortens_the_lease_from_its_connect_request() -> None:
    lease = Lease(T)
    proved(lease, 100.0, 99.0)
    lease.renegotiated(10.0, connected=101.0)
    assert lease.end == 101.0 + 9.8
    assert lease.grace == pytest.approx(10.0 / 6)
    assert proved(lease, 104.0, 101.0)
    assert lease.end == 101.0 + 9.8


def test_longer_timeout_counts_from_the_next_proof() -> None:
    lease = Lease(T)
    proved(lease, 100.0, 99.0)
    lease.renegotiated(60.0, connected=101.0)
    assert lease.end == 99.0 + WHOLE
    assert proved(lease, 102.0, 101.0)
    assert lease.end == 101.0 + 58.8


def test_grace_may_be_given() -> None:
    lease = Lease(T, grace=1.5)
    proved(lease, 100.0, 99.0)
    assert lease.end - lease.cancel_at == 1.5


@given(
    tick=st.floats(0.1, 1.0),  # of half of T
    phase=st.floats(0.0, 1.0),
    gaps=st.lists(
        st.tuples(st.floats(0.01, 2.0), st.floats(0.0, 12.0) | st.just(0.0), st.floats(0.0, 1.9)),
        min_size=1,
        max_size=40,
    ),
)
def test_no_server_expires_the_session_before_the_end_of_its_lease(
    tick: float, phase: float, gaps: list[tuple[float, float, float]]
) -> None:
    """A follower tells the leading server of a touch each half tick; a proof is committed on its way. Whatever the
    ticks, whenever the packets, and however long they are under way: a session is never expired while its lease
    lasts."""
    half_tick = tick * T / 4
    first_report = phase * half_tick
    sent = arrived = answered = 0.0
    arrivals = [0.0]
    lease = Lease(T)
    for pause, there, back in gaps:
        sent += pause
        arrived = max(arrived, sent + there)
        answered = max(answered, arrived + back)
        arrivals.append(arrived)
        lease.committed(sent, answered, None)
        # Cut off from here on: what the leading server knows comes from the follower's last report before the proof.
        reports = int((arrived - first_report) / half_tick) if arrived >= first_report else -1
        if reports < 0:
            continue
        reported = first_report + reports * half_tick
        known = max((arrival for arrival in arrivals if arrival <= reported), default=0.0)
        assert lease.end <= known + T
