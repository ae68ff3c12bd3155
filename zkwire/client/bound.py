"""A client's operations, bound to one of its sessions."""

from __future__ import annotations

from typing import Any

import trio

from ..codes import TERMINAL_STATES, AddWatchMode, KeeperState
from ..errors import SessionExpiredError
from ..session.events import SessionInfo
from ..session.session import Session
from .call import Call
from .verbs import Verbs


class BoundClient(Verbs):
    """The operations of a client, bound to one session. When that session has expired they raise SessionExpiredError,
    even if the client has a new one. For recipes, whose znodes belong to one session."""

    def __init__(self, client: Verbs, session: Session) -> None:
        self._client = client
        self._chroot = client._chroot
        self._bound_to = session

    @property
    def run_root(self) -> trio.lowlevel.Task | None:  # type: ignore[override]  # only read
        return self._client.run_root

    def check_run(self) -> None:
        self._client.check_run()

    @property
    def session(self) -> SessionInfo:
        """The session that this is bound to."""
        return self._bound_to.info

    @property
    def expired(self) -> bool:
        """Whether that session has ended for this client, in whatever way."""
        return self._bound_to.state in TERMINAL_STATES

    def last_answered(self, before: float) -> float | None:
        """Client.last_answered; None when the session is over."""
        return None if self.expired else self._bound_to.last_answered(before)

    def _submit(self, call: Call[Any]) -> None:
        if self._bound_to.state is KeeperState.EXPIRED:  # then the client has a new session, or will have none
            path = call.path
            raise SessionExpiredError(None if path is None else self._client_path(path), call.operation.name)
        self._client._submit(call)

    def _cancel(self, call: Call[Any]) -> None:
        self._bound_to.cancel(call)

    def _disarm(self, path: str, watcher: object) -> None:
        if not self.expired:
            self._client._disarm(path, watcher)

    def _has_watch(self, path: str, mode: AddWatchMode) -> bool:
        return not self.expired and self._client._has_watch(path, mode)
