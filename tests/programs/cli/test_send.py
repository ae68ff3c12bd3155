"""`zkwire send`: requests from JSON, sent to real servers, and both frames explained."""

from __future__ import annotations

import base64
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
from zkwire.cli.send import request_of
from zkwire.cli.status import CommandError
from zkwire.codes import OpCode
from zkwire.explain.describe import RECORDS, described
from zkwire.jute import decode
from zkwire.multi import MultiItem, MultiRequest
from zkwire.operations import BY_OPCODE, Operation
from zkwire.records import (
    ACL,
    CreateRequest,
    DeleteRequest,
    GetDataRequest,
    GetSASLRequest,
    Id,
    MultiHeader,
    SetDataRequest,
    SetWatches,
)


def record(text: str) -> Any:
    return request_of(text)[1]


ANYONE = (ACL(31, Id("world", "anyone")),)


# --- from JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"getData": {"path": "/a", "watch": true}}', GetDataRequest("/a", True)),
        ('{"get_data": {"path": "/a"}}', GetDataRequest("/a", False)),
        ('{"4": {"path": "/a"}}', GetDataRequest("/a", False)),
        ('{"getData": {"path": null}}', GetDataRequest(None, False)),
        ('{"setData": {"path": "/a", "data": "text\\u00e9"}}', SetDataRequest("/a", "texté".encode(), -1)),
        ('{"setData": {"path": "/a", "data": {"hex": "00ff"}}}', SetDataRequest("/a", b"\x00\xff", -1)),
        ('{"setData": {"path": "/a", "data": {"base64": "AP8="}, "version": 3}}', SetDataRequest("/a", b"\x00\xff", 3)),
        ('{"setData": {"path": "/a", "data": null}}', SetDataRequest("/a", None, -1)),
        ('{"create": {"path": "/a"}}', CreateRequest("/a", b"", ANYONE, 0)),
        (
            '{"create": {"path": "/a", "acl": [{"perms": 1, "id": {"scheme": "auth", "id": ""}}], "flags": 1}}',
            CreateRequest("/a", b"", (ACL(1, Id("auth", "")),), 1),
        ),
        (
            '{"setWatches": {"relative_zxid": 5, "data_watches": ["/a"], "exist_watches": [], "child_watches": []}}',
            SetWatches(5, ("/a",), (), ()),
        ),
        ('{"sasl": {"token": ""}}', GetSASLRequest(b"")),
        ('{"whoAmI": {}}', None),
        ('{"closeSession": null}', None),
        ('{"multi": []}', MultiRequest()),
        (
            '{"multi": [{"delete": {"path": "/a", "version": 2}}]}',
            MultiRequest((MultiItem(MultiHeader(OpCode.DELETE, False, -1), DeleteRequest("/a", 2)),)),
        ),
    ],
)
def test_request_is_made_of_json(text: str, expected: Any) -> None:
    assert record(text) == expected


def as_json(value: Any) -> Any:
    """A record as the JSON that stands for it."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if hasattr(value, "FIELDS"):
        return {field.name: as_json(item) for field, item in zip(value.FIELDS, value)}
    if isinstance(value, MultiRequest) or type(value).__name__ == "MultiReadRequest":
        return [{BY_OPCODE[header.type].name: as_json(body)} for header, body in value]
    return [as_json(item) for item in value] if isinstance(value, tuple) else value


#: Those that nobody may send; the flags of createContainer and createTTL are not the example's.
OTHERS = {OpCode.PING, OpCode.CHECK, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL}


@pytest.mark.parametrize(
    "row", [row for row in BY_OPCODE.values() if row.opcode not in OTHERS], ids=lambda row: row.name
)
def test_every_operation_can_be_told_in_json(row: Operation) -> None:
    if row.request is None:
        assert request_of(json.dumps({row.name: {}})) == (row, None)
        return
    example = next(each for each in described(row.request.__name__) if each["kind"] == "record")["example"][0]
    made: Any = decode(RECORDS[row.request.__name__], bytes.fromhex(example))
    if row.opcode == OpCode.MULTI:
        made = MultiRequest((MultiItem(MultiHeader(OpCode.DELETE, False, -1), DeleteRequest("/a", -1)),))
    operation, found = request_of(json.dumps({row.name: as_json(made)}))
    assert (operation, found) == (row, made)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "this is not JSON"),
        ("{", "this is not JSON"),
        ("[]", 'the request is an object of one operation, {"getData": {"path": "/a"}}, not []'),
        ('{"getData": {}, "exists": {}}', "object of one operation"),
        ('{"getDatum": {}}', "'getDatum' is not an operation; there are addWatch, auth"),
        ('{"getData": 5}', "getData is an object with path, watch, not 5"),
        ('{"getData": {}}', "getData lacks path"),
        ('{"getData": {"path": "/a", "wotch": 1}}', "getData has no field 'wotch'; it has path, watch"),
        ('{"getData": {"path": "/a", "watch": 1}}', "getData.watch: boolean takes True or False, not int 1"),
        ('{"getData": {"path": 5}}', "getData.path: ustring takes str or None, not int 5"),
        ('{"setData": {"path": "/a", "data": 5}}', "setData.data: buffer takes bytes or None, not int 5"),
        ('{"setData": {"path": "/a", "data": {"hex": "0"}}}', "setData.data is not hex: '0'"),
        ('{"setData": {"path": "/a", "data": {"base64": "?"}}}', "setData.data is not base64: '?'"),
        ('{"setData": {"path": "/a", "data": {"rot13": "?"}}}', "setData.data: buffer takes"),
        ('{"setData": {"path": "/a", "version": 4294967296}}', "setData.version: int takes a value of 4 bytes"),
        ('{"create": {"path": "/a", "acl": {}}}', "create.acl: vector<ACL> takes"),
        ('{"create": {"path": "/a", "acl": [{"perms": 1}]}}', "create.acl[0] lacks id"),
        ('{"create": {"path": "/a", "acl": []}}', "create: the ACL is empty"),
        ('{"create": {"path": "/a", "flags": 9}}', "flags 9 are no CreateMode"),
        ('{"createTTL": {"path": "/a", "ttl": -1, "flags": 5}}', "ttl is 1 to"),
        ('{"whoAmI": {"path": "/a"}}', 'whoAmI has no fields: it is {}, not {"path": "/a"}'),
        ('{"multi": {}}', "multi is a list of operations"),
        ('{"multi": [5]}', "multi[0] is an object of one operation"),
        ('{"multi": [{"getData": {"path": "/a"}}]}', "multi[0]: getData is not allowed in multi"),
        ('{"multi": [{"delete": {"path": "/a"}}, {"delete": {"pith": 1}}]}', "multi[1].delete has no field 'pith'"),
        ('{"ping": {}}', "ping is the session's own"),
        ('{"check": {"path": "/a"}}', "check stands only inside multi"),
        ("[" * 5000, "the JSON is nested too deep"),
        ('{"a":' * 5000, "the JSON is nested too deep"),
        ('{"multi": ' + "[" * 900 + "]" * 900 + "}", "multi[0] is an object of one operation"),
        (
            '{"getData": {"path": "/a"}, "getData": {"path": "/b"}}',
            "an object of the JSON has the name 'getData' twice",
        ),
        ('{"getData": {"path": "/a", "path": "/b"}}', "an object of the JSON has the name 'path' twice"),
        ('{"getData": {"path": "\\ud800"}}', "getData.path: ustring takes text that UTF-8 can carry"),
    ],
)
def test_what_is_wrong_with_it_is_named(text: str, reason: str) -> None:
    with pytest.raises(CommandError) as refused:
        request_of(text)
    assert reason in str(refused.value)
    assert refused.value.status == 2


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
        (["{}", "--raw", "00"], "give one of them"),
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
