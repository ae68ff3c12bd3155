"""The arithmetic of the lease. T is 24 s, so that T/4 is 6, T/6 is 4 and T/16 is 1.5; what drift costs is 0.48."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from election.leader import election
from election.leader.lease import (
    DRIFT,
    GRACE,
    HALF_TICK,
    LEAST,
    LEAST_AT_MOST,
    LEAST_SECONDS,
    LONGEST_GRACE,
    PROOF_INTERVAL,
    CommitLease,
    Lease,
    NoLease,
    PingLease,
)
from election.leader.overrun import AFTER_RESUME
from zkwire import Check, NoNodeError

T = 24.0
WHOLE = T * (1 - DRIFT)


def proved(lease: Lease, sent: float, heard: float | None = None, took: float = 0.1) -> bool:
    return lease.proved(sent, sent + took, lambda before: heard)


def test_lease_is_over_before_the_first_proof() -> None:
    lease = CommitLease(T)
    assert lease.end == -math.inf
    assert lease.cancel_at == -math.inf


@pytest.mark.rule("L1", "L3")
def test_lease_counts_from_what_was_answered_a_quarter_before_the_proof_was_sent() -> None:
    lease = CommitLease(T)
    assert proved(lease, sent=100.0, heard=93.5, took=1.9)
    assert lease.end == 93.5 + WHOLE
    assert lease.cancel_at == 93.5 + WHOLE - T / 6


@pytest.mark.rule("L1")
def test_time_of_the_reply_does_not_matter() -> None:
    early, late = CommitLease(T), CommitLease(T)
    proved(early, 100.0, 90.0, took=0.0)
    proved(late, 100.0, 90.0, took=1.9)
    assert early.end == late.end


def test_connect_request_counts_at_once() -> None:
    lease = CommitLease(T)
    assert proved(lease, sent=100.0, heard=99.9)
    assert lease.end == 99.9 + WHOLE


def test_what_was_sent_after_the_proof_does_not_count() -> None:
    """By then the connection may be another one, whose ConnectRequest was not answered yet."""
    lease = CommitLease(T)
    assert not proved(lease, sent=100.0, heard=100.5)
    assert lease.end == -math.inf


def test_without_the_clients_knowledge_earlier_proofs_count() -> None:
    lease = CommitLease(T)
    counted = [proved(lease, 100 + number * 1.5) for number in range(7)]
    assert counted == [False] * 6 + [True]  # by 101.5 the first was answered
    assert lease.end == 100.0 + WHOLE


def test_steady_proofs_keep_the_lease_well_ahead() -> None:
    lease = CommitLease(T)
    for number in range(100):
        proved(lease, number * 1.5)
    # The leading server asked at 141 or later, and what had been answered by then was sent at 139.5.
    assert lease.end == 139.5 + WHOLE
    assert lease.end - 148.5 > 0.6 * T


def test_end_never_moves_back() -> None:
    lease = CommitLease(T)
    proved(lease, 100.0, 93.0)
    end = lease.end
    assert proved(lease, 102.0, 80.0)  # what the client knows may be early
    assert lease.end == end


def test_lease_asks_what_had_been_answered_when_the_leading_server_last_asked_the_follower() -> None:
    asked: list[float] = []

    def answered(before: float) -> None:
        asked.append(before)

    lease = CommitLease(T)
    lease.proved(100.0, 100.5, answered)
    lease.proved(101.0, 101.5, answered)  # a pause after 100 may have kept it from asking since 94
    lease.proved(108.0, 108.5, answered)
    assert asked == [6.0, 7.0, 13.0]


def test_pause_of_the_servers_is_lived_through_and_counted_once() -> None:
    lease = CommitLease(T)
    for number in range(41):
        proved(lease, number * 1.5)
    end = lease.end
    assert not end > 51 + WHOLE
    proved(lease, 61.5, took=9.0)  # answered at 70.5
    assert lease.end - end < 1.6
    sent = 70.5
    while lease.end < 70.5 + WHOLE:
        assert sent < lease.cancel_at, "lost"
        proved(lease, sent)
        sent += 1.5
    assert sent < 70.5 + T / 4 + 5


@pytest.mark.rule("L2")
def test_answers_count_in_full_where_they_are_asked_to() -> None:
    lease = PingLease(T)
    proved(lease, sent=100.0)
    assert lease.end == 100.0 + WHOLE
    proved(lease, sent=90.0)
    assert lease.end == 100.0 + WHOLE


def test_lease_without_renewal_is_never_over() -> None:
    lease = NoLease(T)
    proved(lease, sent=100.0)
    lease.renegotiated(T / 2, connected=101.0)
    assert lease.end == lease.cancel_at == lease.interval == math.inf
    assert lease.timeout == T / 2


class Asked:
    """A session that notes what it is asked, and answers at once."""

    def __init__(self, stat: object) -> None:
        self.requests: list[object] = []
        self._stat = stat

    async def multi(self, operations: object) -> None:
        self.requests.append(operations)

    async def exists(self, path: str) -> object:
        self.requests.append(path)
        return self._stat


def prove(lease: Lease, session: Asked) -> None:
    with pytest.raises(StopIteration):
        lease.prove(session, "/e/leader", "/e-holder").send(None)  # type: ignore[arg-type]


@pytest.mark.rule("L1", "L2")
def test_proof_is_a_commit_or_a_read_or_nothing() -> None:
    session = Asked(stat="there")
    prove(CommitLease(T), session)
    prove(PingLease(T), session)
    prove(NoLease(T), session)
    assert session.requests == [[Check("/e/leader"), Check("/e-holder")], "/e/leader"]
    assert CommitLease(T).interval == PingLease(T).interval == T / 16
    with pytest.raises(NoNodeError, match="/e/leader"):
        prove(PingLease(T), Asked(stat=None))


@pytest.mark.rule("L3")
def test_shorter_timeout_shortens_the_lease_from_its_connect_request() -> None:
    lease = CommitLease(T)
    proved(lease, 100.0, 99.0)
    lease.renegotiated(10.0, connected=101.0)
    assert lease.end == 101.0 + 9.8
    assert lease.grace == pytest.approx(10.0 / 6)
    assert proved(lease, 104.0, 101.0)
    assert lease.end == 101.0 + 9.8


def test_longer_timeout_counts_from_the_next_proof() -> None:
    lease = CommitLease(T)
    proved(lease, 100.0, 99.0)
    lease.renegotiated(60.0, connected=101.0)
    assert lease.end == 99.0 + WHOLE
    assert proved(lease, 102.0, 101.0)
    assert lease.end == 101.0 + 58.8


def test_grace_may_be_given() -> None:
    lease = CommitLease(T, grace=1.5)
    proved(lease, 100.0, 99.0)
    assert lease.end - lease.cancel_at == 1.5


@pytest.mark.parametrize(("timeout", "seconds"), [(60, 20), (24, 8), (4, 4 / 3), (2.25, 0.75), (2, 0.75), (1, 0.5)])
def test_body_begins_with_a_third_of_the_timeout_at_least_and_three_quarters_of_a_second(
    timeout: float, seconds: float
) -> None:
    assert CommitLease(timeout).least == pytest.approx(seconds)


def test_longest_grace_leaves_the_body_one_proof_at_least() -> None:
    assert CommitLease(T, grace=T / 3).least == pytest.approx(T / 3 + 1.5)


@given(timeout=st.floats(0.1, 120.0), grace=st.none() | st.floats(0.0, 1 / 3))
def test_steady_proofs_give_what_a_body_begins_with(timeout: float, grace: float | None) -> None:
    lease = CommitLease(timeout, None if grace is None else grace * timeout)
    for number in range(20):
        proved(lease, number * timeout / 16, took=timeout / 100)
    left = lease.end - (19 / 16 + 1 / 100) * timeout  # when the last was answered
    assert left >= lease.least
    assert left >= (LEAST_LEASE - 1 / 100) * timeout - 1e-9


@settings(max_examples=300, deadline=None)
@given(
    tick=st.just(1.0) | st.floats(0.1, 1.0),  # of half of T
    phase=st.floats(0.0, 1.0),
    proofs=st.lists(
        st.tuples(
            st.sampled_from([0.2, 1.5, 3.0, 5.0]),
            st.sampled_from([0.0, 0.0, 0.0, 0.1, 4.0, 12.0]),
            st.sampled_from([0.0, 0.0, 0.1, 3.0]),
            st.sampled_from([0.0, 0.5, 1.0]),
        ),
        min_size=1,
        max_size=20,
    ),
)
def test_no_server_expires_the_session_before_the_end_of_its_lease(
    tick: float, phase: float, proofs: list[tuple[float, float, float, float]]
) -> None:
    """A follower tells the leading server of touches when asked, each half tick; a proof is committed on its way.
    Whatever the ticks, whenever the packets, however long they are under way, and whenever the leading server stands
    still between two proofs, up to the moment in which it commits the second: a session is never expired while its
    lease lasts."""
    half_tick = tick * T / 4
    asked = (phase - 1) * half_tick
    sent = arrived = answered = 0.0
    arrivals = [0.0]
    lease = CommitLease(T)
    for number, (pause, there, back, standing) in enumerate(proofs):
        before = arrived
        sent += pause
        arrived = max(arrived, sent + there)
        answered = max(answered, arrived + back)
        arrivals.append(arrived)
        stood_still_from = arrived - standing * (arrived - before) * (number > 0)
        while asked + half_tick < stood_still_from:
            asked += half_tick
        lease.proved(sent, answered, lambda before: None)
        # Cut off from here on: what the leading server knows is what had reached the follower when it last asked.
        known = max((arrival for arrival in arrivals if arrival <= asked), default=0.0)
        assert lease.end <= known + T
        if asked + half_tick < arrived:
            asked = arrived  # it asks as soon as it goes on


# --- what the docs say about it

ROOT = Path(__file__).parents[3]
SAFETY = (ROOT / "docs" / "election-safety.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: At least so much of T is left to the lease, and to the body, when a proof is sent, while proofs are answered soon.
LEAST_LEASE = 1 - HALF_TICK - 2 * PROOF_INTERVAL - DRIFT
LEAST_WORK = LEAST_LEASE - GRACE
#: The clients' pings are so far apart: rule 36 of docs/client-rules.md.
PING_INTERVAL = 1 / 3


def share(value: float) -> str:
    """As the page writes it: T/16."""
    fraction = Fraction(value).limit_denominator(1000)
    assert fraction.numerator == 1, value
    return f"T/{fraction.denominator}"


#: What the page says, with {} for each number that a constant gives, or that follows from constants.
SAID = {
    "One is sent each {}.": [share(PROOF_INTERVAL)],
    "so that half a tick is {} at most": [share(HALF_TICK)],
    "So it had asked at most {} before this commit": [share(HALF_TICK)],
    "reached the client's server by s - {}.": [share(HALF_TICK)],
    "lease end  =  p + {} T        {} T for clocks that run at different speeds": [f"{1 - DRIFT:g}", f"{DRIFT:g}"],
    "cancelled  =  lease end - {}": [share(GRACE)],
    "With a proof each {}, answered soon, p is no earlier than {} + {} + {} before the last proof": [
        share(PROOF_INTERVAL),
        share(PROOF_INTERVAL),
        share(HALF_TICK),
        share(PROOF_INTERVAL),
    ],
    "lease end  >=  (1 - {} - {} - {}) T  =  {} T": [
        f"1/{round(1 / HALF_TICK)}",
        f"2/{round(1 / PROOF_INTERVAL)}",
        f"1/{round(1 / DRIFT)}",
        f"{LEAST_LEASE:.3f}",
    ],
    "cancelled  >=  {} T": [f"{LEAST_WORK:.3f}"],
    "|<- {} ->|<-- {} --->|<-{}->|<------ {} T ----->|<----- {} ------>|<-- {} T + up to -->|": [
        share(PROOF_INTERVAL),
        share(HALF_TICK),
        share(PROOF_INTERVAL),
        f"{LEAST_WORK:.3f}",
        share(GRACE),
        f"{DRIFT:g}",
    ],
    "For T below {} s a body begins only with {} left, and with {} s at least where that is more than {}": [
        f"{LEAST_SECONDS / LEAST_AT_MOST:g}",
        share(LEAST_AT_MOST),
        f"{LEAST_SECONDS:g}",
        share(LEAST),
    ],
    "the thread waits {} seconds after the process resumes": [{2.0: "two"}[AFTER_RESUME]],
    "runs at most {} % slower than the servers' clocks": [f"{100 * DRIFT:g}"],
    "far below {} ppm": [f"{1_000_000 * DRIFT:,.0f}"],
    "with the default of 10 s and T = 10 s, by more than {} s": [f"{math.floor(10 - 10 * PING_INTERVAL)}"],
}


def seconds(value: float) -> str:
    """As the page's table writes it: cut off after the second decimal, except where three give it exactly."""
    if math.isclose(1000 * value, round(1000 * value)):
        return f"{round(1000 * value) / 1000:g}"
    return f"{math.floor(100 * value) / 100:g}"


#: The page's table of seconds: for each line, a function of T.
FIGURES: dict[str, Callable[[float], str]] = {
    "a proof is sent each": lambda T: seconds(T * PROOF_INTERVAL),
    "a leader whose connection dies works on for at least": lambda T: seconds(T * (LEAST_WORK - PROOF_INTERVAL)),
    "then its body has this long to finish": lambda T: seconds(T * GRACE),
    "after the end of the lease another leader begins at the earliest in": lambda T: seconds(T * DRIFT),
    # Of the last proof and T; and half a tick, after which the leading server hears of it, and a whole one.
    "after SIGKILL another leader begins in, with ticks of 2 s": lambda T: (
        f"{seconds(T * (1 - PROOF_INTERVAL))} to {seconds(T + 1.0 + 2.0)}"
    ),
    "after a resignation another leader begins": lambda T: "at once",
    "a body begins only when this much of the lease is left": lambda T: seconds(CommitLease(T).least),
}


def test_safety_page_has_the_seconds_that_follow_from_the_constants() -> None:
    table_text = SAFETY[SAFETY.index("| | T = ") :].partition("\n\n")[0]
    head, _, *lines = [line.strip("|").strip() for line in table_text.splitlines()]
    timeouts = [float(each) for each in re.findall(r"T = (\d+) s", head)]
    assert timeouts == [4, 10, 30]
    table = {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines}
    assert table == {line: [figure(each) for each in timeouts] for line, figure in FIGURES.items()}


@pytest.mark.parametrize(("text", "numbers"), SAID.items(), ids=SAID)
def test_safety_page_has_the_numbers_of_the_code(text: str, numbers: list[str]) -> None:
    page = " ".join(SAFETY.split())
    words = " ".join(text.split())
    pattern = re.escape(words).replace(re.escape("{}"), r"((?:[\w/]|[.,](?=\d))+)")
    found = re.search(pattern, page)
    assert found is not None, f"the page has no such sentence any more (reword it here, too): {words}"
    assert list(found.groups()) == numbers, "the page says / the constants give"


def test_what_the_safety_page_says_of_a_third_of_the_timeout_follows_from_the_constants() -> None:
    """A leader that finds another server, or whose servers stand still, within T/3 keeps its term."""
    page = " ".join(SAFETY.split())
    assert "finds another within T/3 keeps its term" in page
    assert "Servers that stand still for up to a third of T do not end a term" in page
    assert LEAST_WORK - PROOF_INTERVAL >= 1 / 3


@pytest.mark.parametrize("page", ["election-safety.md", "election-rules.md", "../README.md"])
def test_every_share_of_the_timeout_in_the_docs_is_one_of_the_code(page: str) -> None:
    constants = (PROOF_INTERVAL, HALF_TICK, GRACE, LONGEST_GRACE, PING_INTERVAL, LEAST, LEAST_AT_MOST)
    known = {share(each) for each in constants}
    assert set(re.findall(r"\bT/\d+", (ROOT / "docs" / page).read_text(encoding="utf-8"))) <= known


def test_readme_and_docstrings_have_the_shares_of_the_code() -> None:
    assert {16: "each sixteenth of the session timeout"}[round(1 / PROOF_INTERVAL)] in " ".join(README.split())
    arguments = election.Election.__init__.__doc__ or ""
    assert re.findall(r"each (T/\d+)", arguments) == [share(PROOF_INTERVAL)] * 2
    assert f"to the end of the lease; {share(GRACE)} by default, {share(LONGEST_GRACE)}" in arguments
    assert f"`grace` is how many seconds the body has to finish, {share(GRACE)} by default" in (
        Lease.__init__.__doc__ or ""
    )


def test_table_of_the_safety_page_has_as_many_cases_as_it_announces() -> None:
    announced, table = re.findall(r"there are (\w+) cases:\n\n((?:\|.*\n)+)", SAFETY)[0]
    assert {"three": 3, "four": 4, "five": 5}[announced] == len(table.splitlines()) - 2
