"""The states of a candidate, which of them may follow which, and the one place where a state changes."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class State(str, Enum):
    """What a candidate is doing. Each is also a str: `state == "leading"`."""

    IDLE = "idle"  #: it takes no part
    ENTERING = "entering"  #: it is on its way into the election
    WAITING = "waiting"  #: somebody else comes first, or a lease that another leader may have is not over yet
    LEADING = "leading"  #: its body runs
    SUSPENDED = "suspended"  #: the same without a connection, while the lease lasts
    LOST = "lost"  #: leadership is over, or in doubt; its body ends
    RESIGNING = "resigning"  #: its body has finished; its znodes are being deleted
    RESIGNED = "resigned"  #: its znodes are gone, or its session is over

    def __str__(self) -> str:
        return self.value


#: Which states may follow each.
NEXT: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.ENTERING}),
    # IDLE is for a candidate that gives up.
    State.ENTERING: frozenset({State.WAITING, State.LEADING, State.IDLE}),
    # WAITING again: it waits for something else than before. The last two are for a term that is over before its body
    # begins.
    State.WAITING: frozenset({State.WAITING, State.ENTERING, State.LEADING, State.IDLE, State.LOST, State.RESIGNING}),
    State.LEADING: frozenset({State.SUSPENDED, State.LOST, State.RESIGNING}),
    State.SUSPENDED: frozenset({State.LEADING, State.LOST, State.RESIGNING}),
    State.LOST: frozenset({State.RESIGNING}),
    State.RESIGNING: frozenset({State.RESIGNED}),
    # Only after a term that was over before its body began: the candidate tries again, or gives up.
    State.RESIGNED: frozenset({State.ENTERING, State.IDLE}),
}


class Progress:
    """How far one call of `Election.lead` or `Election.campaign` has come."""

    def __init__(self, tell: Callable[[State], object]) -> None:
        """`tell` is called with each new state, after it has changed."""
        self.state = State.IDLE
        self._tell = tell

    def become(self, state: State) -> bool:
        """Change the state, if NEXT allows that. Returns whether it has changed."""
        if state not in NEXT[self.state]:
            return False
        self.state = state
        self._tell(state)
        return True
