"""`Options`: the arguments of `connect`, checked when they are given."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import LocalProtocolError
from ..frames import Frame
from ..session.events import SessionInfo
from ..session.sasl import Mechanism
from ..session.session import Session
from .transport import Dial


@dataclass(frozen=True)
class Options:
    """See `connect`. Raises LocalProtocolError for an argument of the wrong type or range."""

    hosts: str
    session_timeout: float
    session: SessionInfo | None
    read_only: bool
    ssl_context: ssl.SSLContext | None
    auth: Sequence[tuple[str, bytes]]
    sasl: Mechanism | None
    on_frame: Callable[[Frame], object] | None
    new_session: bool
    connect_timeout: float | None
    max_frame: int
    max_reply: int
    dial: Dial | None

    def __post_init__(self) -> None:
        tls, sasl = self.ssl_context, self.sasl
        self._check("hosts", isinstance(self.hosts, str), "a connect string")
        self._check("session", self.session is None or isinstance(self.session, SessionInfo), "a SessionInfo or None")
        self._check("read_only", isinstance(self.read_only, bool), "True or False")
        self._check("ssl_context", tls is None or isinstance(tls, ssl.SSLContext), "an SSLContext")
        is_list = isinstance(self.auth, (list, tuple))
        self._check("auth", is_list and all(map(_is_auth, self.auth)), "(scheme, bytes) pairs in a list")
        self._check("sasl", sasl is None or (hasattr(sasl, "start") and hasattr(sasl, "step")), "a Mechanism or None")
        self._check("on_frame", self.on_frame is None or callable(self.on_frame), "a function or None")
        self._check("new_session", isinstance(self.new_session, bool), "True or False")
        self._check("max_frame", _is_length(self.max_frame), "a number of bytes above 0")
        self._check("max_reply", _is_length(self.max_reply), "a number of bytes above 0")
        self._check("dial", self.dial is None or callable(self.dial), "a function or None")
        timeout, limit = self.session_timeout, self.connect_timeout
        if not (isinstance(timeout, (int, float)) and 0 < timeout < 2**31 / 1000):
            raise LocalProtocolError(f"session_timeout is seconds, above 0 and below 2147483, not {timeout!r}")
        if not (limit is None or (isinstance(limit, (int, float)) and limit >= 0)):
            raise LocalProtocolError(f"connect_timeout is seconds, 0 or more, or None, not {limit!r}")

    def _check(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            value = getattr(self, name)
            # An error names only the types of these: their values are secret.
            seen = _types(value) if name in ("session", "auth", "sasl") else f"{value!r:.60}"
            raise LocalProtocolError(f"connect: {name} is {expected}, not {seen}")

    def first_session(self, on_frame: Callable[[Frame], object] | None) -> Session:
        """The session to begin with. It calls `on_frame` in the middle of its steps, not the caller's function."""
        return Session(
            self.session_timeout,
            session=self.session,
            read_only=self.read_only,
            auth=self.auth,
            sasl=self.sasl,
            max_frame=self.max_frame,
            max_reply=self.max_reply,
            on_frame=on_frame,
        )


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_auth(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bytes)


def _types(value: object) -> str:
    """The type of a value, and the types of what its lists and tuples hold; never the values."""
    name = type(value).__name__
    return f"{name} of ({', '.join(map(_types, value))})" if isinstance(value, (list, tuple)) else name
