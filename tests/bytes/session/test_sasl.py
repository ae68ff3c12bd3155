"""DIGEST-MD5 against the exchange that RFC 2831 prints, and against challenges that no server should send."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zkwire.session.sasl import DigestMD5, SaslError

#: As ZooKeeper's servers send it.
CHALLENGE = b'realm="zk-sasl-md5",nonce="OA6MG9tEQGm2hh",charset=utf-8,algorithm=md5-sess'


def fields(response: bytes | None) -> dict[str, str]:
    assert response is not None
    return {
        name: quoted or plain for name, quoted, plain in re.findall(r'([\w-]+)=(?:"(.*?)"|([^,]*))', response.decode())
    }


@pytest.fixture
def rfc_exchange(monkeypatch: pytest.MonkeyPatch) -> tuple[DigestMD5, bytes | None]:
    """The exchange of RFC 2831, section 4, as far as the client's response."""
    monkeypatch.setattr("zkwire.session.sasl._DIGEST_URI", "imap/elwood.innosoft.com")
    mechanism = DigestMD5("chris", "secret", cnonce="OA6MHXh6VqTrRk")
    assert mechanism.start() == b""
    challenge = b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8'
    return mechanism, mechanism.step(challenge)


def test_response_is_that_of_rfc_2831(rfc_exchange: tuple[DigestMD5, bytes | None]) -> None:
    assert fields(rfc_exchange[1]) == {
        "charset": "utf-8",
        "username": "chris",
        "realm": "elwood.innosoft.com",
        "nonce": "OA6MG9tEQGm2hh",
        "nc": "00000001",
        "cnonce": "OA6MHXh6VqTrRk",
        "digest-uri": "imap/elwood.innosoft.com",
        "maxbuf": "65536",
        "response": "d388dad90d4bbd760a152321f2143af7",
        "qop": "auth",
    }


def test_rspauth_of_rfc_2831_ends_the_exchange(rfc_exchange: tuple[DigestMD5, bytes | None]) -> None:
    assert rfc_exchange[0].step(b"rspauth=ea40f60335c427b5527b84dbabcdfffd") is None


@pytest.mark.parametrize(
    "token",
    [
        b"rspauth=ea40f60335c427b5527b84dbabcdfffe",
        b"rspauth=",
        "rspauth=é".encode(),
        b"",
        CHALLENGE,
    ],
)
def test_a_server_that_does_not_prove_itself_is_refused(
    rfc_exchange: tuple[DigestMD5, bytes | None], token: bytes
) -> None:
    with pytest.raises(SaslError, match="expected the server's rspauth, got b"):
        rfc_exchange[0].step(token)


def test_response_to_zookeeper_uses_its_constant_uri_and_the_realm_of_the_challenge() -> None:
    """The hash was computed with `printf | md5sum`, by RFC 2831's formulas."""
    response = fields(DigestMD5("bob", "secret", cnonce="OA6MHXh6VqTrRk").step(CHALLENGE))
    assert response["digest-uri"] == "zookeeper/zk-sasl-md5"
    assert response["realm"] == "zk-sasl-md5"
    assert response["response"] == "96a125c56dc925bebf08db539dbced1e"


@pytest.mark.parametrize(
    ("username", "password", "response"),
    [
        ("b\u00e9rta", "s\u00e9cret", "2dedb20e3878f2cbed225bb0daa46103"),  # both hashed in ISO 8859-1
        ("bob", "s\u00e9cr\u20act", "dd20ca65e170fac8017adf2107312b90"),  # which has no euro sign: UTF-8
    ],
)
def test_names_and_passwords_are_hashed_in_iso_8859_1_where_they_can_be(
    username: str, password: str, response: str
) -> None:
    """Servers of 3.9.4 accept these; the first one they refuse when all is hashed in UTF-8."""
    mechanism = DigestMD5(username, password, cnonce="OA6MHXh6VqTrRk")
    assert fields(mechanism.step(CHALLENGE))["response"] == response


def test_response_carries_utf8_and_quotes_what_ends_a_quoted_string() -> None:
    response = DigestMD5('b"o\\bé', "secret", cnonce="c").step(b'realm="a\\"b\\\\",nonce="n"')
    assert response is not None
    assert 'username="b\\"o\\\\bé"'.encode() in response
    assert b'realm="a\\"b\\\\"' in response


def test_each_exchange_has_a_nonce_of_its_own() -> None:
    mechanism = DigestMD5("bob", "secret")
    nonces = set()
    for _ in range(2):
        mechanism.start()
        nonces.add(fields(mechanism.step(CHALLENGE))["cnonce"])
    assert len(nonces) == 2


def test_start_begins_anew_after_an_exchange_that_was_cut_off(rfc_exchange: tuple[DigestMD5, bytes | None]) -> None:
    mechanism = rfc_exchange[0]
    mechanism.start()
    assert fields(mechanism.step(CHALLENGE))["realm"] == "zk-sasl-md5"


def test_a_challenge_without_realm_is_answered_with_an_empty_one() -> None:
    assert fields(DigestMD5("bob", "secret").step(b"nonce=abc"))["realm"] == ""


@pytest.mark.parametrize(
    ("challenge", "text"),
    [
        (b"", "expected a DIGEST-MD5 challenge with a nonce, got b''"),
        (b'realm="zk-sasl-md5"', "expected a DIGEST-MD5 challenge with a nonce, got b'realm="),
        (b"rspauth=ea40f60335c427b5527b84dbabcdfffd", "expected a DIGEST-MD5 challenge with a nonce, got b'rspauth="),
        (b'nonce="never closed', "expected a DIGEST-MD5 challenge with a nonce, got b'nonce="),
        (b"\xff\xfe", r"expected text, got b'\xff\xfe'"),
    ],
)
def test_a_challenge_that_is_none_is_refused(challenge: bytes, text: str) -> None:
    with pytest.raises(SaslError, match="^" + re.escape(text)):
        DigestMD5("bob", "secret").step(challenge)


def test_a_challenge_of_2048_bytes_is_refused_as_rfc_2831_has_it() -> None:
    challenge = CHALLENGE + b"," + b"x" * (2048 - len(CHALLENGE) - 1)
    assert DigestMD5("bob", "secret").step(challenge[:-1]) is not None
    with pytest.raises(SaslError, match="expected a challenge of less than 2048 bytes, got 2048"):
        DigestMD5("bob", "secret").step(challenge)


def test_a_mechanism_shows_its_user_and_no_password() -> None:
    assert repr(DigestMD5("bob", "secret")) == "<DigestMD5 for 'bob'>"


@pytest.mark.parametrize(
    ("username", "password", "name"), [(b"bob", "secret", "username"), ("bob", b"secret", "password")]
)
def test_a_name_or_password_that_is_not_text_is_refused_at_once(username: Any, password: Any, name: str) -> None:
    with pytest.raises(TypeError) as refused:
        DigestMD5(username, password)
    assert str(refused.value) == f"DigestMD5: {name} is a str, not bytes"


def test_an_error_does_not_show_the_proof_of_a_server(rfc_exchange: tuple[DigestMD5, bytes | None]) -> None:
    with pytest.raises(SaslError, match=r"expected the server's rspauth, got b'rspauth=\.\.\.,x=y'"):
        rfc_exchange[0].step(b"rspauth=ea40f60335c427b5527b84dbabcdfffe,x=y")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=40) | st.just(CHALLENGE), max_size=3))
def test_any_challenges_are_answered_or_refused(challenges: list[bytes]) -> None:
    mechanism = DigestMD5("bob", "secret")
    mechanism.start()
    for challenge in challenges:
        try:
            assert mechanism.step(challenge)
        except SaslError:
            break
