"""`zkwire send`: requests from JSON, sent to real servers, and both frames explained."""

from __future__ import annotations

import io
import json
import re
import sys
from functools import partial
from typing import Any

import pytest
import trio

from tests.conftest import External
from tests.support.fake.wire import connect_response, pong
from tests.support.real.servers import Server
from zkwire.cli import main


def test_request_that_is_the_sessions_own_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", '{"ping": {}}']) == 2
    assert "ping is the session's own" in capsys.readouterr().err


def test_json_that_is_not_a_request_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", '{"getDatum": {}}']) == 2
    assert capsys.readouterr().err.startswith("zkwire: 'getDatum' is not an operation; there are addWatch, auth")


def test_stdin_that_is_not_text_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff{}")))
    assert main(["send"]) == 2
    assert (
        capsys.readouterr().err
        == "zkwire: stdin: this is not text: it is neither UTF-8 nor UTF-16; a request is JSON\n"
    )


# --- on a session


@pytest.fixture
def run(zookeeper: Server | External, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("ZKWIRE_HOSTS", zookeeper.address)

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["send", *arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


def titles(text: str) -> list[str]:
    return [" ".join(line.split()[:2]) for line in text.splitlines() if line[:2] in ("> ", "< ")]


def test_both_frames_are_shown(run: Any) -> None:
    status, out, err = run('{"getData": {"path": "/zookeeper", "watch": false}}')
    assert (status, err) == (0, "")
    assert titles(out) == ["> getData", "< getData"]
    assert "GetDataRequest.path   ustring  '/zookeeper'" in out
    assert "The server answers getData, xid 1: empty data;" in out


def test_request_is_read_from_stdin(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):  # the last two are PowerShell's
        text = '{"exists": {"path": "/"}}'
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode(encoding))))
        assert titles(run()[1]) == ["> exists", "< exists"]


def test_events_between_them_are_shown_too(run: Any) -> None:
    watches = {"relative_zxid": 0, "data_watches": [], "exist_watches": ["/zookeeper"], "child_watches": []}
    status, out, _ = run(json.dumps({"setWatches": watches}))
    assert status == 0
    assert titles(out) == ["> setWatches", "< event", "< setWatches"]


def test_json_is_an_object_for_each_frame(run: Any, root: str) -> None:
    status, out, _ = run(json.dumps({"create": {"path": root, "flags": 1}}), "--json")
    request, reply = map(json.loads, out.splitlines())
    assert status == 0
    assert (request["direction"], request["operation"]) == ("sent", "create")
    assert (reply["direction"], reply["operation"]) == ("received", "create")
    assert reply["fields"][-1]["value"] == root


@pytest.mark.parametrize(
    ("text", "status", "name"),
    [
        ('{"getData": {"path": "/no-such-znode"}}', 4, "NO_NODE"),
        ('{"create": {"path": "/zookeeper"}}', 1, "NODE_EXISTS"),
        ('{"auth": {"type": 0, "scheme": "no-such-scheme", "auth": "x"}}', 1, "AUTH_FAILED"),
    ],
)
def test_refusal_is_shown_and_sets_the_status(text: str, status: int, name: str, run: Any) -> None:
    found, out, err = run(text)
    assert found == status
    assert f" {name} " in out.splitlines()[[line[:1] for line in out.splitlines()].index("<")]
    assert err.startswith(f"zkwire: {name}")


@pytest.mark.parametrize("name", ["closeSession", "whoAmI"])
def test_request_without_fields_is_sent(name: str, run: Any) -> None:
    status, out, _ = run(json.dumps({name: {}}))
    assert (status, titles(out)) == (0, [f"> {name}", f"< {name}"])


def test_verbose_shows_the_whole_session_beside_it(run: Any) -> None:
    _, out, err = run('{"exists": {"path": "/"}}', "-v")
    assert titles(out) == ["> exists", "< exists"]
    assert titles(err) == [
        "> ConnectRequest",
        "< ConnectResponse",
        "> exists",
        "< exists",
        "> closeSession",
        "< closeSession",
    ]


# --- any bytes


@pytest.fixture
def hosts(zookeeper: Server | External, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ZKWIRE_HOSTS", zookeeper.address)
    return zookeeper.address


PING = "00000008 fffffffe 0000000b"
CONNECT_BYTES = "0000002d" + "00" * 12 + "00001388" + "00" * 8 + "00000010" + "00" * 17


def shown(capfd: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    """The titles of what was explained, without sizes, and stderr."""
    captured = capfd.readouterr()
    titles = [
        re.sub(r"\s{2,}\d+ bytes?$", "", line) for line in captured.out.splitlines() if line[:2] in ("> ", "< ", "? ")
    ]
    return titles, captured.err


def test_raw_bytes_are_sent_after_a_handshake(hosts: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The second frame asks for a znode that does not exist; the handshake is not shown."""
    assert main(["send", "--raw", PING + "00000013 00000007 00000003 00000006 2f6e6f6e652d 00"]) == 0
    titles, err = shown(capfd)
    assert [title.split(" zxid=")[0] for title in titles] == [
        "> ping xid=-2", "> exists xid=7 path=/none-", "< ping xid=-2 OK", "< exists xid=7 NO_NODE",
    ]  # fmt: skip
    assert err == ""
    assert main(["send", "--raw", PING, "-v"]) == 0
    assert [line.split()[1] for line in capfd.readouterr().err.splitlines() if line[:2] in ("> ", "< ")] == [
        "ConnectRequest", "ConnectResponse", "closeSession",
    ]  # fmt: skip


def test_raw_bytes_take_the_place_of_the_handshake(hosts: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--connect", CONNECT_BYTES, "--raw", PING, "--json"]) == 0
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [each["records"] for each in found] == [
        ["ConnectRequest"], ["ConnectResponse"], ["RequestHeader"], ["ReplyHeader"],
    ]  # fmt: skip
    assert found[1]["fields"][2]["value"] == 5000


def test_real_server_hangs_up_on_what_is_no_frame(hosts: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--raw", "ffffffff"]) == 3
    titles, err = shown(capfd)
    assert titles == ["? frame"]
    assert err.splitlines()[-1] == "zkwire: the server closed the connection"
    assert main(["send", "--connect", "72756f6b"]) == 3  # ruok
    assert "('imok': a four-letter word?)" in capfd.readouterr().err


def test_body_that_cannot_be_read_is_sent_all_the_same(hosts: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--raw", "0000000a 00000007 00000003 7fff"]) == 0
    titles, err = shown(capfd)
    assert titles[0] == "> exists xid=7"
    assert titles[1].startswith("< exists xid=7 MARSHALLING_ERROR")
    assert "ExistsRequest.path at offset 12" in err


async def test_beginning_of_a_frame_is_told_and_waited_for(hosts: str, capfd: pytest.CaptureFixture[str]) -> None:
    for option, given in (("--raw", "0000000800000001"), ("--connect", "0000002d00000000")):
        assert await trio.to_thread.run_sync(main, ["send", option, given, "--wait", "0.2"]) == 1
        err = capfd.readouterr().err
        assert "is cut after 8 of " in err
        assert "the server said nothing more for 0.2 s" in err


@pytest.mark.parametrize(
    ("answers", "status", "words"),
    [
        ([], 3, "the server closed the connection, and has sent no ConnectResponse"),
        ([b"HTTP/1.1 400 Bad Request"], 3, "HTTP"),
        ([b"\0\0\0\2??"], 3, "ConnectResponse.protocol_version at offset 4"),
        ([connect_response()], 3, "the server closed the connection without a reply"),
        ([connect_response(), b"\0\0\0\x10\xff\xff\xff\xfe"], 3, "is cut after 8 of 20 bytes"),
        ([connect_response(), b"\xff\xff\xff\xff"], 3, "length at offset 0: -1"),
        ([connect_response(), b"\0\0\0\1?"], 3, "hold no header"),
        ([connect_response(), pong()], 0, ""),
    ],
)
async def test_whatever_a_server_answers_is_explained(
    answers: list[bytes], status: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            for answer in answers:
                await stream.receive_some()
                await stream.send_all(answer)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            hosts = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            assert await trio.to_thread.run_sync(main, ["send", "--raw", PING, "--hosts", hosts]) == status
            nursery.cancel_scope.cancel()
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--raw", "xyz"], "--raw: this is not hexadecimal"),
        (["--connect", ""], "--connect: expected bytes in hexadecimal, got none"),
        (["{}", "--raw", "00"], "give one or the other"),
        (["--raw", "00", "--hosts", "127.0.0.1:1"], "127.0.0.1:1: Connection refused"),
    ],
)
def test_raw_bytes_that_cannot_be_sent_exit_2(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", *arguments]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert words in captured.err
