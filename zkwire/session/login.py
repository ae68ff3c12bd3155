"""What is sent first on each new connection: all auth packets, then a SASL exchange. Nothing else is sent before their
replies have come (rules 11, 13 and 16). "Rule N": docs/client-rules.md.

A mechanism is not our code. It may raise anything, return anything, and close the session from inside its methods.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from ..codes import ErrorCode
from ..errors import AuthFailedError, LocalProtocolError
from ..operations import AUTH, CLOSE_SESSION, SASL
from ..records import AuthPacket, GetSASLRequest
from ..text import name_of
from .connection import Connection
from .events import AuthReplied, Replied
from .requests import OwnRequest, Request, body_of
from .sasl import FIPS_HINT, Mechanism, SaslError
from .states import ConnectionState


class Login:
    """The auths and the SASL exchange of one session, on one connection after another.

    Call `begin` on each new connection, give it the replies (`take_auth`, `take_sasl`), and call `proceed` after each.

    Raises LocalProtocolError for an auth that cannot be sent.
    """

    def __init__(self, auths: Iterable[tuple[str, bytes]], mechanism: Mechanism | None, max_frame: int) -> None:
        #: The auth packets, in the order in which they are sent. One that a caller waits for is the caller's Request
        #: until it is answered. All others are the session's own.
        self.packets: list[Request] = [OwnRequest(AUTH, AuthPacket(0, scheme, token)) for scheme, token in auths]
        for packet in self.packets:
            body_of(AUTH, packet.record, max_frame)
        self.mechanism = mechanism
        #: Why the session has to end; None while it does not.
        self.failure: AuthFailedError | None = None
        #: Bytes still to be written on a connection that is given up: closeSession, after a failed SASL exchange.
        self.last_words = b""
        self._connection: Connection | None = None
        self._exchange = mechanism  # a copy of it for each connection
        self._auths_left = 0
        self._sasl_begun = self._sasl_over = False

    def begin(self, connection: Connection, now: float) -> None:
        """A server has granted the session: send all auths."""
        self._connection = connection
        self._auths_left = len(self.packets)
        for packet in self.packets:
            connection.send_auth(packet, now)
        self._sasl_begun, self._sasl_over = False, self.mechanism is None

    def add(self, request: Request, now: float) -> None:
        """One more auth packet, on this connection and on every later one."""
        self.packets.append(request)
        if self._connection is not None and self._connection.state is ConnectionState.ESTABLISHED:
            self._auths_left += 1
            self._connection.send_auth(request, now)

    def proceed(self, now: float) -> bool:
        """Take the next step, unless an earlier one still waits for its reply. True when no step is left."""
        connection = self._connection
        if self._auths_left or connection is None or connection.state is not ConnectionState.ESTABLISHED:
            return False
        if not self._sasl_over and not self._sasl_begun:
            self._sasl_begun = True
            self._run_mechanism(None, now)
        return self._sasl_over

    @property
    def awaited(self) -> str:
        """What the server has not answered yet: "auth" or "SASL"."""
        return "auth" if self._auths_left else "SASL"

    def unanswered(self) -> list[Request]:
        """The packets of callers who still wait for the reply."""
        return [packet for packet in self.packets if type(packet) is not OwnRequest]

    # --- replies

    def take_auth(self, event: AuthReplied) -> bool:
        """Take the reply to an auth packet. True if a caller waits for it."""
        request = event.request
        if event.err:
            reason = f"the server answered {name_of(ErrorCode, event.err)}"
            if request is not None:
                reason += f" to auth scheme {request.record.scheme!r}"
            self.failure = AuthFailedError(reason=reason)
            return False
        self._auths_left -= 1
        if type(request) is OwnRequest or request not in self.packets:
            return False
        # It is answered only once. On later connections it is sent as the session's own.
        self.packets[self.packets.index(request)] = OwnRequest(AUTH, request.record)
        return True

    def take_sasl(self, event: Replied, now: float) -> None:
        """Take the reply to a SASL token."""
        if self._connection is None or self._connection.state is not ConnectionState.ESTABLISHED:
            return  # closing: closeSession was the last frame
        if event.err:
            answered = f"the server answered {name_of(ErrorCode, event.err)} ({event.err})"
            # An empty first token means that the server speaks first in this mechanism, as in DIGEST-MD5.
            unchallenged = event.err == ErrorCode.AUTH_FAILED and not event.request.record.token
            self._refuse(f"{answered} {FIPS_HINT}" if unchallenged else answered, None, now)
        elif event.response.token is None:
            self._refuse("the server has no SASL configured: it answered with a null token", None, now)
        else:
            self._run_mechanism(event.response.token, now)

    def _run_mechanism(self, challenge: bytes | None, now: float) -> None:
        """Send the mechanism's next token, the first one if there is no challenge yet. The session ends with an
        AuthFailedError if the mechanism raises, or returns something else than bytes."""
        connection = self._connection
        answer: bytes | None = None
        refusal = ""
        cause: Exception | None = None
        try:
            if challenge is None:
                self._exchange = copy.copy(self.mechanism)
            assert self._exchange is not None
            answer = self._exchange.start() if challenge is None else self._exchange.step(challenge)
        except SaslError as error:
            refusal, cause = str(error), error
        except Exception as error:
            refusal, cause = f"the mechanism raised {type(error).__name__}", error
        if connection is None or connection.state is not ConnectionState.ESTABLISHED:
            return  # the mechanism has closed the session
        if cause is not None:
            self._refuse(refusal, cause, now)
        elif answer is None and challenge is not None:
            self._sasl_over = True
        elif not isinstance(answer, (bytes, bytearray)):
            self._refuse(f"the mechanism returned {type(answer).__name__}, not bytes", None, now)
        else:
            try:
                connection.send(OwnRequest(SASL, GetSASLRequest(bytes(answer))), now)
            except LocalProtocolError as error:  # it is too long
                self._refuse(str(error), error, now)

    def _refuse(self, reason: str, cause: Exception | None, now: float) -> None:
        """The session is over, and the server is told to close it."""
        self.failure = AuthFailedError(reason=f"SASL: {reason}")
        self.failure.__cause__ = cause
        assert self._connection is not None
        self._connection.close(OwnRequest(CLOSE_SESSION), now)
        self.last_words = self._connection.data_to_send(now)
