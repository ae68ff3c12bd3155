"""The table of a session's states: every way that it has, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake.talks import (
    CONNECTED,
    DISCONNECTED,
    READ_ONLY,
    add_auth,
    connected,
)
from tests.support.fake.wire import (
    Talk,
    auth_reply,
    connect_response,
    pong,
    refusal,
    reply,
)
from zkwire.codes import KeeperState
from zkwire.session.states import SESSION_TRANSITIONS


def _to_read_only(talk: Talk) -> None:
    talk.establish(connect_response(read_only=True))


_REACHED: dict[KeeperState, Any] = {
    DISCONNECTED: lambda talk: None,
    CONNECTED: lambda talk: talk.establish(),
    READ_ONLY: _to_read_only,
}


def _refused(talk: Talk) -> None:
    talk.establish(refusal())


def _silence(talk: Talk) -> None:
    talk.establish()
    talk.lose()
    talk.at(200.0)


def _auth_failed(talk: Talk) -> None:
    talk.serve(pong(err=-124))


def _auth_failed_before(talk: Talk) -> None:
    add_auth(talk, b"", "nonsense")
    talk.establish()
    talk.serve(auth_reply(-115))


def _closed(talk: Talk) -> None:
    talk.session.close(talk.now)
    talk.serve(reply(1))


def _detached(talk: Talk) -> None:
    talk.session.detach()


_WAYS: dict[tuple[KeeperState, str], Any] = {
    (DISCONNECTED, "logged in"): lambda talk: talk.establish(),
    (DISCONNECTED, "logged in read-only"): _to_read_only,
    (DISCONNECTED, "refused"): _refused,
    (DISCONNECTED, "silence"): _silence,
    (DISCONNECTED, "authentication failed"): _auth_failed_before,
    (DISCONNECTED, "closed"): lambda talk: talk.session.close(talk.now),
    (DISCONNECTED, "detached"): _detached,
    (CONNECTED, "lost"): lambda talk: talk.lose(),
    (CONNECTED, "authentication failed"): _auth_failed,
    (CONNECTED, "closed"): _closed,
    (CONNECTED, "detached"): _detached,
    (READ_ONLY, "lost"): lambda talk: talk.lose(),
    (READ_ONLY, "authentication failed"): _auth_failed,
    (READ_ONLY, "closed"): _closed,
    (READ_ONLY, "detached"): _detached,
}


class _Walked(dict[tuple[KeeperState, str], KeeperState]):
    """The table, and the rows that were looked up in it."""

    def __init__(self) -> None:
        super().__init__(SESSION_TRANSITIONS)
        self.rows: list[tuple[KeeperState, str]] = []

    def __getitem__(self, row: tuple[KeeperState, str]) -> KeeperState:
        self.rows.append(row)
        return super().__getitem__(row)


@pytest.mark.parametrize(("before", "trigger"), _WAYS, ids=lambda value: getattr(value, "name", value))
def test_session_goes_every_way_of_its_table(
    before: KeeperState, trigger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Talk(read_only=True)
    _REACHED[before](talk)
    assert talk.session.state is before
    walked = _Walked()
    monkeypatch.setattr("zkwire.session.session.SESSION_TRANSITIONS", walked)
    _WAYS[before, trigger](talk)
    assert walked.rows[-1] == (before, trigger)
    assert talk.session.state is SESSION_TRANSITIONS[before, trigger]


def test_the_table_has_no_way_that_no_test_goes() -> None:
    assert set(SESSION_TRANSITIONS) == set(_WAYS)


def test_terminal_states_have_no_way_out() -> None:
    assert {before for before, _ in SESSION_TRANSITIONS} == {DISCONNECTED, CONNECTED, READ_ONLY}


def test_a_way_that_the_table_does_not_have_is_an_error_of_ours() -> None:
    talk = connected()
    with pytest.raises(KeyError, match=r"SYNC_CONNECTED.*silence"):
        talk.session._change_state("silence", "")
