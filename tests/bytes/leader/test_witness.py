"""Which signs show a candidate that a leader may still work. Times are plain numbers."""

from __future__ import annotations

import math

import pytest

from election.leader.witness import DELETED, DOUBTFUL, LEADING, RESIGNED, Witness

#: When a lease ends that may have been proved at the time of the sign.
EARLY, LATE = 100.0, 200.0


def waited(zxid: int = 50) -> Witness:
    """A witness that waited for another candidate when this zxid was the newest."""
    witness = Witness()
    witness.waits(zxid, EARLY)
    return witness


def test_first_candidate_ever_suspects_nobody() -> None:
    witness = Witness()
    witness.epoch_is_missing(EARLY)
    witness.sees(b"", 10, EARLY)
    witness.succeeds(b"", None, None)
    assert witness.until == -math.inf
    assert not witness.has_waited


@pytest.mark.parametrize("record", [RESIGNED + b"a", DELETED + b"a", LEADING + b"a"])
def test_new_candidate_believes_what_the_epoch_says(record: bytes) -> None:
    witness = Witness()
    witness.sees(record, 10, EARLY)
    witness.succeeds(record, None, None)
    assert witness.until == -math.inf


@pytest.mark.parametrize("record", [RESIGNED + b"a", DELETED + b"a", LEADING + b"a"])
def test_turn_that_comes_as_it_should_is_no_suspicion(record: bytes) -> None:
    for czxid in (40, 60):  # an epoch from before and from after we came
        witness = waited(50)
        witness.sees(record, czxid, LATE)
        witness.succeeds(record, None, None)
        assert witness.until == -math.inf


def test_missing_epoch_is_suspicious_to_a_candidate_that_has_waited_or_has_seen_one() -> None:
    witness = waited()
    witness.epoch_is_missing(LATE)
    assert witness.until == LATE
    witness = Witness()
    witness.sees(RESIGNED + b"a", 10, EARLY)
    witness.epoch_is_missing(LATE)
    assert witness.until == LATE


def test_missing_epoch_is_as_it_should_be_where_nothing_was_made_since_we_came() -> None:
    """Another program's leader has none."""
    witness = waited(50)
    witness.epoch_is_missing(LATE, changed=50)
    witness.sees(b"", 60, LATE)  # ours
    witness.succeeds(b"", None, None)
    assert witness.until == -math.inf
    witness = waited(50)
    witness.epoch_is_missing(LATE, changed=51)
    assert witness.until == LATE


def test_epoch_that_says_that_nobody_led_is_suspicious_to_a_candidate_that_has_waited() -> None:
    witness = waited(50)
    witness.sees(b"", 60, LATE)
    assert witness.until == LATE
    witness = waited(50)
    witness.sees(b"", 40, LATE)  # the epoch was there before us, and nobody has led since
    assert witness.until == -math.inf


@pytest.mark.parametrize("record", [b"", RESIGNED + b"b", LEADING + b"b", DELETED + b"b"])
def test_another_epoch_than_before_is_suspicious_whatever_it_says(record: bytes) -> None:
    witness = Witness()
    witness.sees(RESIGNED + b"a", 10, EARLY)
    witness.sees(record, 60, LATE)
    assert witness.until == LATE


def test_another_epoch_was_made_before_what_we_have_known_since() -> None:
    """So the previous epoch was deleted by then, and leases of that time are over sooner."""
    witness = Witness()
    witness.sees(RESIGNED + b"a", 10, EARLY)
    witness.waits(55, EARLY - 1)
    witness.waits(65, EARLY)
    witness.waits(75, EARLY + 1)
    witness.sees(RESIGNED + b"b", 60, LATE)
    assert witness.until == EARLY


def test_another_epoch_came_with_the_deletion_that_our_contender_went_with() -> None:
    witness = Witness()
    witness.sees(RESIGNED + b"a", 10, EARLY)
    witness.contender_was_deleted(EARLY)
    witness.sees(RESIGNED + b"b", 60, LATE)
    assert witness.until == EARLY
    witness = Witness()
    witness.sees(RESIGNED + b"a", 10, EARLY)
    witness.leaders_znode_was_deleted(EARLY)  # losing the leader's znode alone is not suspicious
    witness.sees(LEADING + b"me", 10, LATE)
    assert witness.until == -math.inf
    witness.leaders_znode_was_deleted(EARLY)
    witness.sees(RESIGNED + b"b", 60, LATE)
    assert witness.until == EARLY
    witness.sees(RESIGNED + b"c", 70, LATE)
    assert witness.until == LATE


def test_epoch_that_we_wrote_to_is_known() -> None:
    witness = Witness()
    witness.epoch_is_missing(EARLY)
    witness.wrote(10)
    witness.sees(RESIGNED + b"me", 10, LATE)
    assert witness.until == -math.inf
    witness.sees(RESIGNED + b"me", 11, LATE)
    assert witness.until == LATE


@pytest.mark.parametrize(
    ("record", "czxid", "until"),
    [
        (RESIGNED + b"a", 40, -math.inf),  # the epoch has stood since, and says that all have finished
        (DELETED + b"a", 40, -math.inf),
        (b"", 40, -math.inf),
        (LEADING + b"a", 40, EARLY),
        (RESIGNED + b"a", 60, EARLY),  # it may have been made anew
        (LEADING + b"a", 60, EARLY),
    ],
)
def test_own_contender_that_was_deleted_is_suspicious_unless_all_have_finished(
    record: bytes, czxid: int, until: float
) -> None:
    witness = waited(50)
    witness.contender_was_deleted(EARLY)
    witness.sees(record, czxid, LATE)
    witness.succeeds(record, None, None)
    assert witness.until == until


def test_suspicion_about_the_own_contender_ends_with_the_term_that_it_was_about() -> None:
    witness = waited(50)
    witness.contender_was_deleted(EARLY)
    witness.sees(RESIGNED + b"a", 40, LATE)
    witness.sees(LEADING + b"b", 40, LATE)
    witness.succeeds(LEADING + b"b", None, None)
    assert witness.until == -math.inf


def test_holder_that_went_without_a_word_is_suspicious() -> None:
    for record, until in ((LEADING + b"a", EARLY), (None, EARLY), (DELETED + b"a", -math.inf)):
        witness = waited()
        witness.succeeds(record, EARLY, None)
        assert witness.until == until


def test_holder_that_went_before_its_leaders_znode_is_suspicious() -> None:
    witness = waited()
    witness.succeeds(LEADING + b"a", None, LATE)
    assert witness.until == LATE


def test_doubt_of_another_candidate_counts_from_when_it_was_read_and_once() -> None:
    witness = Witness()
    witness.sees(DOUBTFUL + b"a", 10, EARLY)
    witness.sees(DOUBTFUL + b"a", 10, LATE)
    assert witness.until == EARLY
    own = witness.doubt("me", 5.0)
    witness.sees(own, 10, LATE)
    assert witness.until == EARLY
    witness.sees(DOUBTFUL + b"b", 10, LATE)
    assert witness.until == LATE


def test_doubt_lasts_for_the_seconds_that_were_left_of_it() -> None:
    """Else candidates that each give up sooner would hand it on for ever."""
    record = Witness().doubt("a", 5.0)
    assert record == DOUBTFUL + b"a 5.001"
    witness = Witness()
    witness.sees(record, 10, LATE, now=LATE - 10)
    assert witness.until == pytest.approx(LATE - 4.999)


@pytest.mark.parametrize("record", [b"a", b"a x", b"a -5.000", b"a nan", b"a 1e9", b"a 99999999.000", b""])
def test_doubt_lasts_no_longer_than_any_lease(record: bytes) -> None:
    """Also where it has no seconds that make sense."""
    witness = Witness()
    witness.sees(DOUBTFUL + record, 10, LATE, now=LATE - 10)
    assert witness.until == LATE


def test_what_was_suspected_is_not_forgotten_for_something_sooner() -> None:
    witness = Witness()
    witness.suspect(LATE)
    witness.suspect(EARLY)
    assert witness.until == LATE
