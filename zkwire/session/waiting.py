"""Requests that wait until the session is connected, and for how long they may."""

from __future__ import annotations

from collections import deque

from .requests import OwnRequest, Request


class Waiting:
    """What waits until the session is connected.

    It fails when the session expires. But there may be no session yet, or servers may grant one again and again and
    never answer its auths. So it also fails after 4/3 of the session timeout without a connected session.
    """

    def __init__(self) -> None:
        #: Requests that are not on a connection, in call order.
        self.requests: deque[Request] = deque()
        #: Requests on the connection whose callers were cancelled. If they never left, they do not wait for the next.
        self.cancelled: set[Request] = set()
        self._since: float | None = None  # since when something waits

    def note(self, now: float) -> None:
        """A request or an auth waits."""
        if self._since is None:
            self._since = now

    def until(self, session_timeout: float) -> float | None:
        """When everything has waited for too long; None when nothing waits."""
        return None if self._since is None else self._since + session_timeout * 4 / 3

    def put_back(self, unwritten: list[Request]) -> None:
        """The connection was lost before these requests left: they wait for the next one, before all others."""
        kept = [each for each in unwritten if not (type(each) is OwnRequest or each in self.cancelled)]
        self.cancelled.clear()
        self.requests.extendleft(reversed(kept))

    def take_all(self) -> list[Request]:
        """All requests. Nothing waits any more."""
        requests = list(self.requests)
        self.requests.clear()
        self._since = None
        return requests
