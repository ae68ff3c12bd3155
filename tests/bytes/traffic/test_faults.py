"""Faults in words and in Python: which frames they act on, how often, and what they do. No tap, no clock."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zkwire.traffic.faults
from tests.support.traffic import Traffic
from zkwire.codes import CreateMode, ErrorCode, EventType, OpCode, Xid
from zkwire.frames import Direction
from zkwire.jute import Encodable, encode
from zkwire.multi import MultiRequest, MultiResponse, item
from zkwire.records import (
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    ExistsRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    ReplyHeader,
    SetDataRequest,
    SetWatches,
    SetWatches2,
)
from zkwire.traffic.conversation import SeenFrame
from zkwire.traffic.faults import (
    DROP,
    PASS,
    Action,
    Corrupt,
    Cut,
    Delay,
    Duplicate,
    FaultError,
    Reorder,
    Replace,
    Rule,
    first_of,
    frame_number,
    notification,
    parse_fault,
    reply_to,
    request,
)

ROOT = Path(__file__).parents[3]
PAGES = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/tools.md"))
DOCUMENTED = zkwire.traffic.faults.__doc__ or ""

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED


def session() -> list[SeenFrame]:
    """A handshake, a ping, creates and reads with their replies, two events, and what has no name."""
    traffic = Traffic()
    frames = traffic.connect()

    def exchange(
        opcode: int, record: Encodable | None = None, answer: Encodable | None = None, xid: int | None = None
    ) -> None:
        asked = traffic.request(opcode, record, xid)
        frames.extend([asked, traffic.reply(asked, answer)])

    exchange(OpCode.PING, xid=Xid.PING)
    exchange(
        OpCode.CREATE,
        CreateRequest("/a/n-", b"", (), CreateMode.EPHEMERAL_SEQUENTIAL),
        CreateResponse("/a/n-0000000007"),
    )
    exchange(OpCode.CREATE2, CreateRequest("/b", b"", (), CreateMode.PERSISTENT))
    exchange(OpCode.GET_DATA, GetDataRequest("/a", True))
    exchange(OpCode.EXISTS, ExistsRequest("/a/n-0000000007", True))
    frames.append(traffic.event(EventType.NODE_DATA_CHANGED, "/a"))
    frames.append(traffic.event(EventType.NODE_DELETED, "/a/n-0000000007"))
    writes = (item(OpCode.SET_DATA, SetDataRequest("/a", b"", 0)), item(OpCode.DELETE, DeleteRequest("/c/d", -1)))
    exchange(OpCode.MULTI, MultiRequest(writes), MultiResponse())
    exchange(OpCode.SET_WATCHES, SetWatches(1, ("/a",), (), ("/w",)))
    exchange(OpCode.SET_WATCHES2, SetWatches2(1, (), (), None, (), ("/r", None)))
    exchange(OpCode.GET_EPHEMERALS, GetEphemeralsRequest("/e"))
    exchange(999)
    frames.append(traffic.seen(RECEIVED, encode(ReplyHeader(777, 9, ErrorCode.NO_NODE))))
    return frames


def label(seen: SeenFrame) -> str:
    if seen.is_notification:
        return f"event {seen.record.type} {seen.path}"
    name = "connect" if seen.is_handshake else "?" if seen.opcode is None else f"{seen.opcode:d}"
    return f"{seen.direction.value}{name}"


def acted_on(text: str, frames: list[SeenFrame] | None = None, seed: object = 0) -> list[str]:
    rule = parse_fault(text, Random(str(seed)))
    for seen in session() if frames is None else frames:
        rule(seen)
    return [label(hit) for hit in rule.hits]


def action_of(text: str, seed: int = 0) -> Action:
    """What it does with the first frame it acts on."""
    rule = parse_fault(text, Random(seed))
    return next(action for seen in session() if (action := rule(seen)) != PASS)


ALL_BUT_PING_AND_CONNECT = [1, 15, 4, 3, 14, 101, 105, 103, 999]


# --- to which frames


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("drop request always", [f">{code}" for code in ALL_BUT_PING_AND_CONNECT]),
        ("drop reply always", [*(f"<{code}" for code in ALL_BUT_PING_AND_CONNECT), "<?"]),
        ("drop request * always", [">connect", ">11", *(f">{code}" for code in ALL_BUT_PING_AND_CONNECT)]),
        ("drop reply * always", ["<connect", "<11", *(f"<{code}" for code in ALL_BUT_PING_AND_CONNECT), "<?"]),
        ("drop request ping", [">11"]),
        ("drop reply connect", ["<connect"]),
        ("drop request create always", [">1"]),
        ("drop reply create* always", ["<1", "<15"]),
        ("drop reply create,getData always", ["<1", "<4"]),
        ("drop event always", ["event 3 /a", "event 2 /a/n-0000000007"]),
        ("drop event * always", ["event 3 /a", "event 2 /a/n-0000000007"]),
        ("drop event nodeDeleted always", ["event 2 /a/n-0000000007"]),
        ("drop event NODE_DELETED,nodeCreated", ["event 2 /a/n-0000000007"]),
        ("drop event /a always", ["event 3 /a"]),
        ("drop request /a always", [">4", ">14", ">101"]),
        ("drop reply /a always", ["<4", "<14", "<101"]),
        ("drop request /a/** always", [">1", ">4", ">3", ">14", ">101"]),
        ("drop reply create /a/n-0000000007", ["<1"]),
        ("drop request create /a/n-0000000007", []),
        ("drop request multi /c/d", [">14"]),
        ("drop request /w", [">101"]),
        ("drop request /r", [">105"]),
        ("drop request /e", [">103"]),
        ("drop request getData '/a' always", [">4"]),
        ("drop request getData /b always", []),
    ],
)
def test_fault_acts_on_the_frames_that_its_words_name(text: str, frames: list[str]) -> None:
    assert acted_on(text) == frames


# --- how often


@pytest.mark.parametrize(
    ("often", "frames"),
    [
        ("", [">1"]),
        ("once", [">1"]),
        ("nth 1", [">1"]),
        ("nth 3", [">4"]),
        ("nth=3", [">4"]),
        ("nth 100", []),
        ("p=1", [f">{code}" for code in ALL_BUT_PING_AND_CONNECT]),
        ("p=1e-9", []),
    ],
)
def test_fault_acts_as_often_as_its_words_say(often: str, frames: list[str]) -> None:
    assert acted_on(f"drop request {often}") == frames


@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_faults(seed: int) -> None:
    frames = session() * 5
    assert acted_on("drop request p=0.5", frames, seed) == acted_on("drop request p=0.5", frames, seed)
    assert action_of("corrupt reply", seed) == action_of("corrupt reply", seed)


def test_other_seeds_give_other_faults_in_the_proportion_asked_for() -> None:
    frames = session() * 20
    counts = [len(acted_on("drop reply p=0.25", frames, seed)) for seed in range(30)]
    assert len(set(counts)) > 5
    of_all = len(acted_on("drop reply always", frames))
    assert 0.2 < sum(counts) / (30 * of_all) < 0.3


# --- what happens


@pytest.mark.parametrize(
    ("text", "action", "said"),
    [
        ("drop request", DROP, "dropped"),
        ("delay request", Delay(1.0), "delayed by 1 s"),
        ("delay 0.25 request", Delay(0.25), "delayed by 0.25 s"),
        ("delay 2s request", Delay(2.0), "delayed by 2 s"),
        ("delay 500ms request", Delay(0.5), "delayed by 0.5 s"),
        ("cut request", Cut(0), "connection cut before it"),
        ("cut before request", Cut(0), "connection cut before it"),
        ("cut after request", Cut(None), "connection cut after it"),
        ("cut inside 7 request", Cut(7), "connection cut after 7 bytes of it"),
        ("cut inside request getData", Cut(9), "connection cut after 9 bytes of it"),
        ("dup request", Duplicate(), "duplicated"),
        ("reorder request", Reorder(), "sent after the next"),
    ],
)
def test_fault_does_what_its_words_say(text: str, action: Action, said: str) -> None:
    assert action_of(text) == action
    assert str(action_of(text)) == said


def test_actions_of_python_say_what_they_do() -> None:
    assert [str(Delay()), str(Replace(b"")), str(Cut(-1))] == [
        "delayed",
        "replaced",
        "connection cut after -1 bytes of it",
    ]


def test_corrupt_turns_one_bit_over_and_never_one_of_the_length() -> None:
    offsets = set()
    for seed in range(300):
        action = action_of("corrupt request getData", seed)
        assert isinstance(action, Corrupt)
        data = bytes(range(19))
        changed = action.of(data)
        (place,) = [index for index in range(19) if data[index] != changed[index]]
        assert len(changed) == 19
        assert (data[place] ^ changed[place]).bit_count() == 1
        offsets.add(place)
    assert offsets == set(range(4, 19))


def test_corrupt_takes_an_offset_as_dumps_show_it() -> None:
    action = action_of("corrupt 0x0c request")
    assert isinstance(action, Corrupt)
    assert action.offset == 12
    assert str(Corrupt(12, 8)) == "corrupted at offset 000c by 08"
    assert Corrupt(0, 1).of(b"\0abc") == b"\1abc"


def test_corrupt_lets_a_frame_pass_that_lacks_the_byte() -> None:
    empty = Traffic()
    frames = [*empty.connect(), empty.seen(SENT, b"")]
    for text in ("corrupt request always", "corrupt 4 request always"):
        rule = parse_fault(text, Random(0))
        assert [rule(seen) for seen in frames] == [PASS] * 3


# --- words that are not a fault


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected drop, delay"),
        ("explode request", "got 'explode'"),
        ("drop", "expected request, reply or event, got ''"),
        ("drop answer", "got 'answer'"),
        ("drop request getDate", "'getDate' is not an operation"),
        ("drop event getData", "'getData' is not a type of event; there are NODE_CREATED"),
        ("drop event nodeResync", "not a type of event"),
        ("drop request getData getData", "once, nth N, always or p=P, got 'getData'"),
        ("drop request /a /b", "got '/b'"),
        ("drop request once once", "'once' is one word too many"),
        ("drop request /a/**/b", "only be the last name"),
        ("drop request nth", "nth takes a number from 1, got ''"),
        ("drop request nth 0", "got '0'"),
        ("drop request nth x", "got 'x'"),
        ("drop request p=0", "above 0 and at most 1"),
        ("drop request p=1.5", "above 0 and at most 1"),
        ("drop request p=often", "above 0 and at most 1, got 'often'"),
        ("delay 1h request", "expected seconds, such as 0.5 or 500ms, got '1h'"),
        ("delay 1e999 request", "a finite number of seconds"),
        ("delay -1 request", "got '-1'"),
        ("corrupt 9x request", "9x"),
        ("drop request '/a", "closing quotation"),
    ],
)
def test_words_that_are_not_a_fault_are_refused_with_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(FaultError, match=r"^fault ") as caught:
        parse_fault(text, Random(0))
    assert reason in str(caught.value)
    assert repr(text) in str(caught.value)


@given(st.text(st.sampled_from("drop cutdelayrequestreply/a*=.1 \n'"), max_size=40))
def test_any_words_are_a_fault_or_a_fault_error(text: str) -> None:
    try:
        rule = parse_fault(text, Random(0))
    except FaultError:
        return
    assert isinstance(rule, Rule)


# --- in Python


def test_matchers_tell_requests_replies_and_events_apart() -> None:
    frames = session()

    def matched(match: object) -> list[str]:
        assert callable(match)
        return [label(seen) for seen in frames if match(seen)]

    assert matched(request(OpCode.GET_DATA)) == [">4"]
    assert matched(request(path="/a")) == [">4"]
    assert len(matched(request())) == 10
    assert matched(reply_to(OpCode.GET_DATA, "/a")) == ["<4"]
    assert matched(reply_to(OpCode.GET_DATA, "/b")) == []
    assert matched(notification("/a")) == ["event 3 /a"]
    assert len(matched(notification())) == 2
    assert matched(frame_number(RECEIVED, 0)) == ["<connect"]


def test_rule_counts_the_frames_that_match_and_takes_a_callable_for_its_action() -> None:
    frames = session()
    rule = Rule(request(), lambda seen: Replace(seen.data[:2]), skip=1, times=2)
    actions = [rule(seen) for seen in frames]
    assert [action for action in actions if action != PASS] == [Replace(b"\0\0")] * 2
    assert [label(hit) for hit in rule.hits] == [">1", ">15"]


def test_first_of_asks_until_one_acts() -> None:
    first, second = Rule(request(OpCode.CREATE), DROP), Rule(request(), Duplicate(), times=None)
    fault = first_of(first, second)
    assert [action for seen in session()[4:8] if (action := fault(seen)) != PASS] == [DROP, Duplicate()]
    assert [label(hit) for hit in second.hits] == [">15"]


@pytest.mark.parametrize(
    "text", re.findall(r"--fault '([^']+)'", PAGES) + re.findall(r"^    (\w.*?)  +[a-z]", DOCUMENTED, re.M)
)
def test_fault_that_the_documentation_shows_is_one(text: str) -> None:
    assert isinstance(parse_fault(text, Random(0)), Rule)
