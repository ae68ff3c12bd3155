"""One exception class for each code. An unknown code keeps its number. A lost connection says what is known."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any, Literal

import pytest

from zkwire import errors
from zkwire.codes import ErrorCode
from zkwire.errors import (
    BY_CODE,
    AuthFailedError,
    BadArgumentsError,
    ClosedError,
    ConnectionLossError,
    LocalProtocolError,
    NoNodeError,
    NoServerError,
    ProtocolError,
    RemoteProtocolError,
    ReplyTooLongError,
    ZkwireError,
    ZooKeeperError,
    error_from_code,
)

CODES = [code for code in ErrorCode if code is not ErrorCode.OK]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_from_code_gives_the_class_that_is_named_as_the_code(code: ErrorCode) -> None:
    error = error_from_code(int(code), "/a", "getData")
    name = code.name.replace("_", "").lower()
    if name.endswith("error") and code is not ErrorCode.SYSTEM_ERROR:  # SystemError is Python's
        name = name.removesuffix("error")
    assert type(error).__name__.lower() == name + "error"
    assert error.code is code
    assert (error.path, error.operation) == ("/a", "getData")
    assert str(error).startswith(f"{code.name} ({code.value}): getData /a")


def test_every_error_class_of_a_code_has_one_of_its_own() -> None:
    classes = [
        cls
        for cls in vars(errors).values()
        if inspect.isclass(cls) and issubclass(cls, ZooKeeperError) and cls is not ZooKeeperError
    ]
    assert len(classes) == len(CODES)
    assert {cls.CODE: cls for cls in classes} == BY_CODE


@pytest.mark.rule(23)
@pytest.mark.parametrize("code", [-126, -999, 5])
def test_from_code_keeps_the_number_of_a_code_it_does_not_know(code: int) -> None:
    error = error_from_code(code, "/a", "create")
    assert type(error) is ZooKeeperError
    assert error.code == code
    assert str(error) == f"unknown error code ({code}): create /a"


@pytest.mark.parametrize(
    ("path", "operation", "text"),
    [
        (None, None, "NO_NODE (-101)"),
        ("/a", None, "NO_NODE (-101): /a"),
        (None, "multi", "NO_NODE (-101): multi"),
        ("/a", "delete", "NO_NODE (-101): delete /a"),
    ],
)
def test_error_text_has_what_is_known(path: str | None, operation: str | None, text: str) -> None:
    assert str(NoNodeError(path, operation)) == text


def test_error_text_escapes_what_cannot_be_printed() -> None:
    assert str(BadArgumentsError("/é\ud800\x1b[2J\n", "create")) == r"BAD_ARGUMENTS (-8): create /é\ud800\x1b[2J\n"


@pytest.mark.rule(30)
@pytest.mark.parametrize(
    ("written", "maybe_applied", "text"),
    [
        ("in full", True, "CONNECTION_LOSS (-4): create /a (written in full, maybe applied; EOF)"),
        ("partly", False, "CONNECTION_LOSS (-4): create /a (written partly, not applied; EOF)"),
        ("not sent", False, "CONNECTION_LOSS (-4): create /a (not sent; EOF)"),
    ],
)
def test_connection_loss_says_how_much_of_the_request_was_written(
    written: Literal["in full", "partly", "not sent"], maybe_applied: bool, text: str
) -> None:
    error = ConnectionLossError("/a", "create", written, "EOF")
    assert (error.written, error.maybe_applied, error.cause) == (written, maybe_applied, "EOF")
    assert str(error) == text


@pytest.mark.rule(30)
def test_connection_loss_text_does_without_a_cause() -> None:
    assert str(ConnectionLossError("/a", "create")) == (
        "CONNECTION_LOSS (-4): create /a (written in full, maybe applied)"
    )


@pytest.mark.parametrize(
    ("cls", "name"), [(BadArgumentsError, "BAD_ARGUMENTS (-8)"), (AuthFailedError, "AUTH_FAILED (-115)")]
)
def test_error_text_has_the_reason_where_one_was_found(cls: Any, name: str) -> None:
    assert str(cls("/a", "create", reason="why")) == f"{name}: create /a: why"
    assert str(cls("/a", "create")) == f"{name}: create /a"


def test_errors_stand_under_who_broke_what() -> None:
    for cls in (ProtocolError, ClosedError, NoServerError, ZooKeeperError):
        assert cls.__bases__ == (ZkwireError,)
    assert LocalProtocolError.__bases__ == RemoteProtocolError.__bases__ == (ProtocolError,)
    assert ZkwireError.__bases__ == (Exception,)


@pytest.mark.parametrize(
    "error",
    [
        NoNodeError("/a", "delete"),
        ConnectionLossError("/a", "create", "partly", "EOF"),
        BadArgumentsError("/a", "create", reason="why"),
        AuthFailedError(None, "auth", reason="why"),
        error_from_code(-126, "/a", "create"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_survives_copy_and_pickle(error: ZooKeeperError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


#: The first release with the code, where it was not there from the first.
SINCE = {
    **dict.fromkeys(["UNKNOWN_SESSION", "NEW_CONFIG_NO_QUORUM", "RECONFIG_IN_PROGRESS"], "3.5.0"),
    **dict.fromkeys(["EPHEMERAL_ON_LOCAL_SESSION", "NO_WATCHER"], "3.5.0"),
    "NOT_READ_ONLY": "3.4.0",
    "RECONFIG_DISABLED": "3.5.3",
    "REQUEST_TIMEOUT": "3.5.5",
    "SESSION_CLOSED_REQUIRE_SASL_AUTH": "3.5.9",
    "SSL_CONNECTION_ERROR": "3.6.0",
    **dict.fromkeys(["QUOTA_EXCEEDED", "THROTTLED_OP"], "3.7.0"),
}


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_error_knows_its_first_release_and_says_what_it_means(code: ErrorCode) -> None:
    cls = BY_CODE[code]
    assert SINCE.get(code.name, "") == cls.SINCE
    assert vars(cls).get("__doc__")


def test_reply_too_long_names_both_lengths_and_the_option() -> None:
    error = ReplyTooLongError("/a", "getData", 5088, 1000)
    assert isinstance(error, ZkwireError)
    assert str(error) == (
        "getData /a: expected a reply of at most 1000 bytes, got one of 5088, which was dropped; "
        "connect(max_reply=...) says how long a reply may be"
    )
    assert str(ReplyTooLongError(None, "whoAmI", 5088, 1000)).startswith("whoAmI: expected")
