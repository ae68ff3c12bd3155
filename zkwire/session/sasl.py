"""SASL DIGEST-MD5 as ZooKeeper speaks it (RFC 2831, qop=auth, md5-sess): challenge in, response out.

The digest-uri is the constant `zookeeper/zk-sasl-md5`, whatever the host's name.
Any object with the same two methods may be used instead, for example one that calls a GSSAPI library.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Protocol

_DIGEST_URI = "zookeeper/zk-sasl-md5"
#: RFC 2831, 2.1.1. Without a limit, a long challenge would take much time: it grows with the square of the length.
_MAX_CHALLENGE = 2048

#: Why a server refuses DIGEST-MD5 before it has sent a challenge. Source: ZOOKEEPER-5043, and 3.9.6 itself.
FIPS_HINT = (
    "before it sent a challenge: in FIPS mode, which is on by default, servers since 3.9.6 refuse DIGEST-MD5; "
    "start them with -Dzookeeper.fips-mode=false"
)


class SaslError(Exception):
    """The server's challenge is not what the mechanism expects. `str()` says what was expected and what was seen."""


class Mechanism(Protocol):
    """What `connect(sasl=...)` takes.

    One object may be given to any number of clients: each connection has an exchange of its own, on a copy of the
    object (`copy.copy`) whose `start` is called first. A class whose shallow copies share the state of an exchange
    defines `__copy__`.

    If a method raises anything, a SaslError or another exception, the client ends with an AuthFailedError whose
    `__cause__` is that exception.
    """

    def start(self) -> bytes:
        """Begin a new exchange, on a new connection. Returns the first token; b"" if the server speaks first.

        It must not return None: a null token makes the server close the connection.
        """

    def step(self, challenge: bytes) -> bytes | None:
        """The answer to the server's token; None when the exchange is over and the server has proved itself.

        Raises:
            SaslError: the token is not acceptable.
        """


class DigestMD5:
    """The mechanism, for one user.

    Servers since 3.9.6 refuse it with AUTH_FAILED (-115) in FIPS mode, which is on by default there. They take it when
    started with `-Dzookeeper.fips-mode=false`, or with the line `fips-mode=false` in zoo.cfg.

    Args:
        username, password: as in the server's JAAS section `Server`: user_<name>="<password>".
        cnonce: the client's nonce, for tests; a random one for each exchange when None.
    """

    def __init__(self, username: str, password: str, *, cnonce: str | None = None) -> None:
        for name, value in (("username", username), ("password", password)):
            if not isinstance(value, str):
                raise TypeError(f"DigestMD5: {name} is a str, not {type(value).__name__}")
        self._username = username
        self._password = password
        self._fixed_cnonce = cnonce
        self._expected: str | None = None

    def __repr__(self) -> str:
        return f"<DigestMD5 for {self._username!r}>"

    def start(self) -> bytes:
        self._expected = None
        return b""

    def step(self, challenge: bytes) -> bytes | None:
        if len(challenge) >= _MAX_CHALLENGE:
            raise SaslError(f"expected a challenge of less than {_MAX_CHALLENGE} bytes, got {len(challenge)}")
        fields = _parse(challenge)
        if self._expected is not None:
            if not hmac.compare_digest(fields.get("rspauth", "").encode(), self._expected.encode()):
                raise SaslError(f"expected the server's rspauth, got {_shown(challenge)}")
            return None
        if "nonce" not in fields:
            raise SaslError(f"expected a DIGEST-MD5 challenge with a nonce, got {_shown(challenge)}")
        realm, nonce = fields.get("realm", ""), fields["nonce"]
        cnonce = self._fixed_cnonce or secrets.token_urlsafe(24)
        secret = hashlib.md5(b":".join(map(_to_hash, (self._username, realm, self._password)))).digest()
        session = hashlib.md5(secret + f":{nonce}:{cnonce}".encode()).hexdigest()

        def response(method: str) -> str:
            uri = hashlib.md5(f"{method}:{_DIGEST_URI}".encode()).hexdigest()
            return hashlib.md5(f"{session}:{nonce}:00000001:{cnonce}:auth:{uri}".encode()).hexdigest()

        self._expected = response("")
        return (
            f'charset=utf-8,username="{_quoted(self._username)}",realm="{_quoted(realm)}",nonce="{_quoted(nonce)}",'
            f'nc=00000001,cnonce="{cnonce}",digest-uri="{_DIGEST_URI}",maxbuf=65536,'
            f"response={response('AUTHENTICATE')},qop=auth"
        ).encode()


def _shown(challenge: bytes) -> str:
    """The server's token for an error; without rspauth, from which a password could be guessed."""
    return f"{re.sub(rb'rspauth=[^,]*', b'rspauth=...', challenge)!r:.80}"


def _to_hash(text: str) -> bytes:
    """ISO 8859-1 where that has all the letters, else UTF-8 (RFC 2831, 2.1.2.1, "charset")."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _parse(challenge: bytes) -> dict[str, str]:
    """The pairs `name=value` and `name="value"` of a challenge, which commas separate."""
    try:
        text = challenge.decode()
    except UnicodeDecodeError:
        raise SaslError(f"expected text, got {_shown(challenge)}") from None
    found = re.findall(r'\s*([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^,"]*))\s*(?:,|\Z)', text)
    return {name: re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in found}
