"""Fuzz: whatever bytes a server sends, a Connection gives events or RemoteProtocolError, a Session events or a
Disconnected, and neither anything else; every request has one outcome; and no length makes either allocate.

The seeded loops can be run longer, and again from where one failed:

    ZKWIRE_FUZZ_COUNT=10000000 ZKWIRE_FUZZ_SEED=7 python -m pytest tests/bytes/test_fuzz.py -k loop
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.golden import load
from zkwire.codes import ErrorCode, EventType, KeeperState, OpCode, Xid
from zkwire.errors import RemoteProtocolError, ZkwireError
from zkwire.explain.dump import format_frame
from zkwire.frames import MAX_REPLY, Direction, Frame, frame
from zkwire.jute import decode, encode
from zkwire.multi import MultiResponse
from zkwire.operations import ADD_WATCH, AUTH, BY_OPCODE, EXISTS, GET_CHILDREN, GET_CHILDREN2, GET_DATA, problem
from zkwire.records import (
    AuthPacket,
    ConnectRequest,
    ConnectResponse,
    GetACLResponse,
    GetChildrenResponse,
    ReplyHeader,
    SetSASLResponse,
)
from zkwire.session.connection import Connection
from zkwire.session.events import (
    NEED_DATA,
    AuthReplied,
    Connected,
    Disconnected,
    Failed,
    Fired,
    Notified,
    Ponged,
    Replied,
    SessionRefused,
    StateChanged,
)
from zkwire.session.requests import Request, XidCounter
from zkwire.session.sasl import DigestMD5, SaslError
from zkwire.session.session import Session
from zkwire.session.states import ConnectionState

SEED = int(os.environ.get("ZKWIRE_FUZZ_SEED", "1"))
COUNT = int(os.environ.get("ZKWIRE_FUZZ_COUNT", "200000"))
#: From how many on the loops must have met everything that they are there for.
ENOUGH = 50_000

RECEIVED = [golden for golden in load() if golden.direction is Direction.RECEIVED]
HANDSHAKES = [golden.payload for golden in RECEIVED if golden.types[0] is ConnectResponse]
NOTIFICATIONS = [golden.payload for golden in RECEIVED if golden.kind == "event"]
CHALLENGES = [golden.payload[20:] for golden in RECEIVED if golden.opcode == OpCode.SASL and len(golden.payload) > 20]
ALL = [golden.payload for golden in RECEIVED]

CONNECT_REQUEST = ConnectRequest(0, 0, 10000, 0, bytes(16), False)
CONNECT_RESPONSE = frame(encode(ConnectResponse(0, 10000, 0x1234, bytes(16), False)))
_NOT_ORDINARY = (OpCode.PING, OpCode.AUTH, OpCode.CLOSE_SESSION, OpCode.CHECK)


def _sendable() -> dict[int, list[Any]]:
    """By opcode, the records of golden requests that zkwire agrees to send."""
    found: dict[int, list[Any]] = {opcode: [] for opcode in BY_OPCODE if opcode not in _NOT_ORDINARY}
    for golden in load():
        if golden.direction is Direction.SENT and golden.opcode in found and len(golden.types) <= 2:
            record = decode(golden.types[1], golden.payload[8:]) if len(golden.types) == 2 else None
            if problem(BY_OPCODE[golden.opcode], record) is None:
                found[golden.opcode].append(record)
    return found


def _answers() -> dict[int, list[bytes]]:
    """By opcode, the golden replies, their xid left out."""
    found: dict[int, list[bytes]] = {opcode: [] for opcode in BY_OPCODE if opcode != OpCode.CHECK}
    for golden in RECEIVED:
        if golden.opcode in found:
            found[golden.opcode].append(golden.payload[4:])
    return found


#: Few, so that kinds of watches meet on one path; all are in golden notifications.
WATCHING = (EXISTS, GET_DATA, GET_CHILDREN, GET_CHILDREN2, ADD_WATCH)
WATCHED = ("/app", "/watched", "/watched/p")
SENDABLE, ANSWERS = _sendable(), _answers()
OPCODES = sorted(SENDABLE)

# --- what may come out

EVENTS = (Connected, SessionRefused, Replied, Notified, AuthReplied, Ponged)

#: The text of a RemoteProtocolError: a field path and an offset, or what was expected and what was seen.
_FIELD = r"\w+(\[\d+\])*(\.\w+(\[\d+\])*)* at offset \d+: .+"
_SEEN = (
    r"frame length -?\d+( \(.{6,8}\))?, expected .+"
    r"|expected .+, got .+"
    r"|got a reply with xid -?\d+, which belongs to no request"
)
EXPLAINED = re.compile(f"({_FIELD})|({_SEEN})", re.DOTALL)


def drain(connection: Connection) -> int:
    """Take all events, and return how many there were. Asserts that each is one that may come."""
    count = 0
    while True:
        try:
            event = connection.next_event(0.0)
        except RemoteProtocolError as error:
            complaint = str(error)
            break
        if event is NEED_DATA or event is None:
            return count
        assert type(event) in EVENTS, event
        count += 1
    assert EXPLAINED.fullmatch(complaint), f"says too little: {complaint}"
    assert connection.state is ConnectionState.FAILED
    assert connection.next_event(0.0) is None, "a failed connection has no more events"
    return count


OnFrame = Callable[[Frame], object] | None


def handshaking(on_frame: OnFrame = None, first_xid: int = 1) -> Connection:
    """A connection that awaits its ConnectResponse."""
    return Connection(CONNECT_REQUEST, now=0.0, deadline=1.0, xids=XidCounter(first_xid), on_frame=on_frame)


def established(
    opcodes: list[int], choose: random.Random, on_frame: OnFrame = None, first_xid: int = 1
) -> tuple[Connection, list[Request]]:
    """A connection with these requests, and one auth packet, pending."""
    connection = handshaking(on_frame, first_xid)
    connection.receive_data(CONNECT_RESPONSE, 0.0)
    assert type(connection.next_event(0.0)) is Connected
    requests = [Request(BY_OPCODE[opcode], choose.choice(SENDABLE[opcode])) for opcode in opcodes]
    for request in requests:
        connection.send(request, 0.0)
    connection.send_auth(Request(AUTH, AuthPacket(0, "digest", b"bob:pw")), 0.0)
    return connection, requests


def answer(request: Request, choose: random.Random) -> bytes:
    """A golden reply of the request's operation, with its xid."""
    return request.xid.to_bytes(4, "big") + choose.choice(ANSWERS[request.operation.opcode])


# --- mutations

_INTERESTING = [
    value.to_bytes(4, "big", signed=True)
    for value in (
        -1,
        -2,
        -4,
        -8,
        -101,
        0,
        1,
        2,
        3,
        5,
        13,
        14,
        15,
        16,
        127,
        128,
        255,
        65536,
        0xFFFFF,
        2**31 - 1,
        -(2**31),
    )
]
#: Not ASCII, CESU-8, half a surrogate pair, one that is no UTF-8; what ends a string in some language.
_TEXTS = (
    "\N{LATIN SMALL LETTER E WITH ACUTE}".encode(),
    b"\xed\xa0\xbe\xed\xb6\xa6",
    b"\xed\xa0\xbe",
    b"\xff",
    b"\0",
    b'"',
    b",",
)


def mutate(payload: bytes, choose: random.Random) -> bytes:
    """A frame with its length, a few changes away from a golden one."""
    # Most changes leave the header alone: a wrong xid hides everything after it.
    start = 16 if len(payload) > 16 and choose.random() < 0.75 else 0
    data = bytearray(payload)
    for _ in range(choose.choice((1, 1, 1, 2, 3))):
        _mutate_once(data, start, choose)
    length = len(data)
    if choose.random() < 0.1:
        length = choose.choice((0, 1, 15, 16, length - 1, length + 1, length + 4, -1, -(2**31), 2**31 - 1, MAX_REPLY))
    return length.to_bytes(4, "big", signed=True) + data


def _mutate_once(data: bytearray, start: int, choose: random.Random) -> None:
    size = len(data)
    place = choose.randint(start, size)
    length = choose.choice((1, 1, 2, 4, 4, 8, 16, 40))
    kind = choose.randrange(8)
    if kind == 0 and place < size:
        data[place] ^= 1 << choose.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:  # a number, where the golden has one or not: mostly on a boundary of four
        place -= (place - start) % 4 if choose.random() < 0.5 else 0
        data[place : place + 4] = choose.choice(_INTERESTING)
    elif kind == 3:
        other = choose.choice(ALL)
        data[place:] = other[choose.randrange(len(other)) :]
    elif kind == 4:
        data[place:place] = data[place : place + length]
    elif kind == 5:
        data[place:place] = choose.choice(_TEXTS) if choose.random() < 0.5 else choose.randbytes(length)
    elif kind == 6:
        del data[place : place + length]
    elif place + 4 <= size:  # a number that is off by a little
        value = int.from_bytes(data[place : place + 4], "big") + choose.randint(-4, 4)
        data[place : place + 4] = (value & 0xFFFFFFFF).to_bytes(4, "big")


def cut(data: bytes, choose: random.Random) -> list[bytes]:
    """The bytes in one to three pieces."""
    places = sorted(choose.randint(0, len(data)) for _ in range(choose.randrange(3)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)]) if start < end]


# --- the loops


def test_fuzz_loop_of_connections_gives_events_or_remote_protocol_errors() -> None:
    choose = random.Random()
    failed = 0
    for iteration in range(COUNT):
        choose.seed(SEED * 2**40 + iteration)
        mutant, connection, pieces = _connection_case(choose)
        try:
            for piece in pieces:
                connection.receive_data(piece, 0.0)
                drain(connection)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, iteration {iteration}, frame {mutant.hex(' ')}") from error
        failed += connection.state is ConnectionState.FAILED
    if COUNT >= ENOUGH:  # neither all refused nor all taken: else the loop looks at too little
        assert 0.2 < failed / COUNT < 0.8


def _connection_case(choose: random.Random, on_frame: OnFrame = None) -> tuple[bytes, Connection, list[bytes]]:
    """A mutated frame; a connection; and the frame among others, in pieces, that the connection is to be given."""
    if choose.random() < 0.05:
        mutant = mutate(choose.choice(HANDSHAKES), choose)
        return mutant, handshaking(on_frame), cut(mutant, choose)
    opcodes = choose.choices(OPCODES, k=choose.randint(1, 3))
    connection, requests = established(opcodes, choose, on_frame, choose.choice((1, 2**31 - 2)))
    payloads = [answer(request, choose) for request in requests]
    if choose.random() < 0.2:
        payloads.insert(choose.randint(0, len(payloads)), choose.choice(NOTIFICATIONS))
    if choose.random() < 0.1:
        reserved = choose.choice((OpCode.PING, OpCode.AUTH))
        xid = Xid.PING if reserved is OpCode.PING else Xid.AUTH
        reply = xid.to_bytes(4, "big", signed=True) + choose.choice(ANSWERS[reserved])
        payloads.insert(choose.randint(0, len(payloads)), reply)
    place = choose.randrange(len(payloads))
    mutant = mutate(payloads[place], choose)
    frames = [mutant if index == place else frame(payload) for index, payload in enumerate(payloads)]
    return mutant, connection, cut(b"".join(frames), choose)


def test_fuzz_loop_of_traced_connections_prints_every_frame() -> None:
    """A twentieth as often, with `on_frame`: the dump must print whatever was received."""
    choose = random.Random()
    for iteration in range(COUNT // 20):
        choose.seed(SEED * 2**40 + iteration)
        frames: list[Frame] = []
        mutant, connection, pieces = _connection_case(choose, frames.append)
        frames.clear()  # nothing wrong has come yet
        for piece in pieces:
            connection.receive_data(piece, 0.0)
            drain(connection)
        try:
            for received in frames:
                assert format_frame(received).startswith("<")
        except Exception as error:
            raise AssertionError(f"seed {SEED}, iteration {iteration}, frame {mutant.hex(' ')}") from error


def test_fuzz_loop_of_sessions_gives_events_and_one_outcome_for_every_request() -> None:
    """A tenth as often: sessions over up to three connections, each answered with mutated frames."""
    choose = random.Random()
    states: set[KeeperState] = set()
    for iteration in range(COUNT // 10):
        choose.seed(SEED * 2**40 + iteration)
        case = SessionCase(choose)
        try:
            case.run()
        except Exception as error:
            log = "\n".join(case.log)
            raise AssertionError(f"seed {SEED}, iteration {iteration}:\n{log}") from error
        states |= case.states
    if COUNT >= ENOUGH:
        assert states == set(KeeperState) - {KeeperState.SASL_AUTHENTICATED}


TERMINAL = (KeeperState.CLOSED, KeeperState.EXPIRED, KeeperState.AUTH_FAILED)


class SessionCase:
    """One session with requests, watches, auth and SASL, against a server that answers with mutated golden frames."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        auth = [("digest", b"bob:pw")] if choose.random() < 0.3 else []
        sasl = DigestMD5("bob", "secret", cnonce="OA6MHXh6VqTrRk") if choose.random() < 0.2 else None
        self.session = Session(10.0, auth=auth, sasl=sasl, read_only=choose.random() < 0.5, on_frame=self.note)
        self.watches = choose.random() < 0.4  # nothing but operations that arm them
        self.sent: list[Frame] = []
        self.taken: list[Request] = []
        self.cancelled: set[Request] = set()
        self.outcomes: dict[Request, int] = {}
        self.states: set[KeeperState] = set()
        self.log: list[str] = []
        self.now = 0.0
        self.is_connected = False  # by TCP

    def note(self, passed: Frame) -> None:
        if passed.direction is Direction.SENT:
            self.sent.append(passed)

    def run(self) -> None:
        session, choose = self.session, self.choose
        for _ in range(choose.randint(2, 16)):
            self.now += choose.choice((0.0,) * 8 + (0.5, 4.0, 8.0))
            step = choose.choice((self.ask, self.ask, self.serve, self.serve, self.serve, self.pass_time, self.lose))
            step()
            if choose.random() < 0.03:
                self.close()
            self.drain()
        if choose.random() < 0.5:
            self.close()
            self.drain()
            for _ in range(3):
                self.serve()
                self.drain()
        self.tcp_lost("the end")
        self.drain()
        session.detach()
        self.drain()
        assert session.state in TERMINAL
        for request in self.taken:
            # One that was cancelled before it left is forgotten.
            allowed = (0, 1) if request in self.cancelled else (1,)
            assert self.outcomes.get(request, 0) in allowed, f"{self.outcomes.get(request, 0)} outcomes of {request}"

    def ask(self) -> None:
        """A request of the caller: any operation, with a watcher where it can have one; an auth packet; or a disarm."""
        choose, session = self.choose, self.session
        if choose.random() < 0.1:
            session.disarm(choose.choice(WATCHED), choose.choice("ab"), self.now)
            return
        if choose.random() < 0.1:
            request = Request(AUTH, AuthPacket(0, "digest", b"alice:pw"))
            command = session.add_auth
        else:
            operation = choose.choice(WATCHING) if self.watches else BY_OPCODE[choose.choice(OPCODES)]
            record, watcher = choose.choice(SENDABLE[operation.opcode]), None
            if (operation.arms is not None or operation is ADD_WATCH) and choose.random() < 0.7:
                record, watcher = record.replace(path=choose.choice(WATCHED)), choose.choice("ab")
            request = Request(operation, record, watcher)
            command = session.request
        self.log.append(f"ask {request}")
        try:
            command(request, self.now)
        except ZkwireError as error:
            self.log.append(f"refused: {error}")
        else:
            self.taken.append(request)
            if choose.random() < 0.1:
                session.cancel(request)
                self.cancelled.add(request)

    def serve(self) -> None:
        """A server takes what was sent and answers as the golden server, except for some frames."""
        choose, session = self.choose, self.session
        if session.state in TERMINAL:
            return
        if not self.is_connected:
            if session.error is not None:
                return  # closed while there was no connection
            self.sent.clear()
            self.is_connected = True
            session.tcp_connected(self.now, self.now + 3.0)
            self.log.append("connected")
        session.data_to_send(self.now)
        for passed in self.sent:
            self.answer(passed)
        self.sent.clear()
        if choose.random() < 0.3:
            self.receive(choose.choice(NOTIFICATIONS))
        if choose.random() < 0.05:
            session.receive_data(b"", self.now)
            self.log.append("EOF")

    def answer(self, passed: Frame) -> None:
        choose = self.choose
        if passed.opcode is None:
            if choose.random() < 0.95:
                info = self.session.info
                response = ConnectResponse(0, 10000, info.id or 0x1234, bytes(16), choose.random() < 0.2)
                payload = encode(response)
            else:
                payload = choose.choice(HANDSHAKES)
        else:
            if passed.opcode not in ANSWERS:
                return
            answers = ANSWERS[passed.opcode]
            if choose.random() < 0.8:  # mostly all goes well, or no case would come far
                answers = [rest for rest in answers if rest[8:12] == bytes(4)]
            payload = passed.payload[:4] + choose.choice(answers)
        self.receive(payload)

    def receive(self, payload: bytes) -> None:
        data = mutate(payload, self.choose) if self.choose.random() < 0.1 else frame(payload)
        self.log.append(f"receive {data.hex(' ')}")
        for piece in cut(data, self.choose):
            self.session.receive_data(piece, self.now)

    def close(self) -> None:
        self.log.append("close")
        self.session.close(self.now)

    def pass_time(self) -> None:
        deadline = self.session.next_deadline()
        if deadline is not None and deadline <= self.now:
            self.log.append(f"timeout at {self.now}")
            self.session.handle_timeout(self.now)

    def lose(self) -> None:
        if self.choose.random() < 0.3:
            self.log.append("lost")
            data = self.session.data_to_send(self.now)
            self.tcp_lost("lost", self.choose.randint(0, len(data)))

    def tcp_lost(self, reason: str, unsent: int = 0) -> None:
        self.is_connected = False
        self.session.tcp_lost(self.now, reason, unsent)

    def drain(self) -> None:
        while (event := self.session.next_event(self.now)) is not NEED_DATA:
            self.log.append(f"  {event!r:.200}")
            if isinstance(event, (Replied, Failed)):
                self.outcomes[event.request] = self.outcomes.get(event.request, 0) + 1
            elif isinstance(event, StateChanged):
                self.states.add(event.state)
            elif isinstance(event, Disconnected):
                self.tcp_lost(event.reason)
            else:
                assert isinstance(event, Fired), event


# --- hypothesis, which shrinks what it finds

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 8), st.binary(max_size=8)), min_size=0, max_size=4)


def edited(payload: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(payload)
    for place, length, new in changes:
        data[place : place + length] = new
    return bytes(data)


def pieces_of(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds) if start < end]


@unhurried
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4), st.booleans())
@example(b"\x00\x00\x00\x00", [], True)
@example(b"\xff\xff\xff\xff", [2], False)
def test_any_bytes_in_a_handshake_give_events_or_a_remote_protocol_error(
    data: bytes, places: list[int], ends: bool
) -> None:
    connection = handshaking()
    for piece in [*pieces_of(data, places), *([b""] if ends else [])]:
        connection.receive_data(piece, 0.0)
        drain(connection)


@unhurried
@given(
    st.lists(st.sampled_from(OPCODES), max_size=4),
    st.binary(max_size=400),
    st.lists(st.integers(0, 400), max_size=4),
    st.booleans(),
)
def test_any_bytes_give_events_or_a_remote_protocol_error(
    opcodes: list[int], data: bytes, places: list[int], framed: bool
) -> None:
    connection, _ = established(opcodes, random.Random(0))
    for piece in pieces_of(frame(data) if framed else data, places):
        connection.receive_data(piece, 0.0)
        drain(connection)


@unhurried
@given(
    st.lists(st.sampled_from(OPCODES), min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.lists(edits, min_size=4, max_size=4),
    st.lists(st.integers(0, 1000), max_size=4),
)
def test_edited_goldens_give_events_or_a_remote_protocol_error(
    opcodes: list[int], seed: int, changes: list[list[tuple[int, int, bytes]]], places: list[int]
) -> None:
    choose = random.Random(seed)
    connection, requests = established(opcodes, choose)
    frames = [frame(edited(answer(request, choose), change)) for request, change in zip(requests, changes)]
    for piece in pieces_of(b"".join(frames), places):
        connection.receive_data(piece, 0.0)
        drain(connection)


@unhurried
@given(st.sampled_from(HANDSHAKES), edits, st.lists(st.integers(0, 60), max_size=3))
def test_edited_handshakes_give_an_event_or_a_remote_protocol_error(
    payload: bytes, changes: list[tuple[int, int, bytes]], places: list[int]
) -> None:
    connection = handshaking()
    for piece in pieces_of(frame(edited(payload, changes)), places):
        connection.receive_data(piece, 0.0)
        drain(connection)


@unhurried
@given(st.integers(0, 2**64))
def test_any_session_gives_one_outcome_for_every_request(seed: int) -> None:
    SessionCase(random.Random(seed)).run()


@unhurried
@given(st.lists(st.sampled_from(CHALLENGES), max_size=3), st.lists(edits))
@example([CHALLENGES[0], "rspauth=\N{OTTER}".encode()], [])
def test_any_challenges_give_an_answer_or_a_sasl_error(
    challenges: list[bytes], changes: list[list[tuple[int, int, bytes]]]
) -> None:
    mechanism = DigestMD5("bob", "secret", cnonce="OA6MHXh6VqTrRk")
    mechanism.start()
    with contextlib.suppress(SaslError):
        for challenge, change in zip(challenges, [*changes, [], [], []]):
            mechanism.step(edited(challenge, change))


def test_a_challenge_longer_than_the_rfc_allows_is_refused_unread() -> None:
    """Reading it would take minutes: the time grows with the square of the length."""
    mechanism = DigestMD5("bob", "secret")
    mechanism.start()
    with pytest.raises(SaslError, match="less than 2048 bytes, got 1000000"):
        mechanism.step(b"a" * 1_000_000)


class Echo:
    """A SASL mechanism whose answer is its server's token."""

    def start(self) -> bytes:
        return b""

    def step(self, challenge: bytes) -> bytes | None:
        return challenge


def test_a_sasl_answer_too_long_to_send_ends_the_session_in_auth_failed() -> None:
    session = Session(10.0, sasl=Echo(), max_frame=100)
    session.tcp_connected(0.0, 1.0)
    session.receive_data(CONNECT_RESPONSE, 0.0)
    assert session.next_event(0.0) is NEED_DATA
    session.receive_data(frame(encode(ReplyHeader(1, 0, 0)) + encode(SetSASLResponse(bytes(200)))), 0.0)
    event = session.next_event(0.0)
    assert isinstance(event, StateChanged)
    assert event.state is KeeperState.AUTH_FAILED
    assert "a request may have 100 at most" in event.reason


# --- memory


def peak_of(connection: Connection, data: bytes) -> int:
    """The most bytes allocated at a time while the connection took the data."""
    tracemalloc.start()
    try:
        connection.receive_data(data, 0.0)
        drain(connection)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.rule(2)
@pytest.mark.parametrize("length", [-1, -(2**31), MAX_REPLY + 1, 2**31 - 1])
def test_frame_length_out_of_range_fails_without_allocating(length: int) -> None:
    connection, _ = established([], random.Random(0))
    assert peak_of(connection, length.to_bytes(4, "big", signed=True) + bytes(100)) < 100_000
    assert connection.state is ConnectionState.FAILED


@pytest.mark.rule(2)
def test_longest_frame_length_allocates_nothing_before_its_bytes_come() -> None:
    connection, _ = established([], random.Random(0))
    assert peak_of(connection, MAX_REPLY.to_bytes(4, "big") + bytes(100)) < 100_000
    assert connection.state is ConnectionState.ESTABLISHED


@pytest.mark.rule(2)
@pytest.mark.parametrize("count", [1000, 2**24, 2**31 - 1, -2, -(2**31)])
@pytest.mark.parametrize(
    "opcode", [OpCode.GET_DATA, OpCode.GET_CHILDREN, OpCode.GET_ACL, OpCode.SYNC, OpCode.WHO_AM_I], ids=lambda o: o.name
)
def test_inner_length_beyond_its_frame_fails_without_allocating(opcode: OpCode, count: int) -> None:
    payload = encode(ReplyHeader(1, 1, 0)) + count.to_bytes(4, "big", signed=True) + bytes(80)
    warm, _ = established([opcode], random.Random(0))
    warm.receive_data(frame(payload), 0.0)  # imports construct, which explains, and fills its caches
    drain(warm)
    connection, _ = established([opcode], random.Random(0))
    assert peak_of(connection, frame(payload)) < 100_000
    assert connection.state is ConnectionState.FAILED


@pytest.mark.rule(2)
@pytest.mark.parametrize(
    ("opcode", "response"),
    [
        (OpCode.GET_CHILDREN, encode(GetChildrenResponse(("",) * 100_000))),
        (OpCode.GET_ACL, encode(GetACLResponse((), decode(GetACLResponse, bytes(72)).stat))),
        (OpCode.MULTI, b"\x00\x00\x00\x02\x00\x00\x00\x00\x00" * 40_000 + encode(MultiResponse())),
    ],
    ids=["children", "acl", "multi"],
)
def test_densest_reply_takes_memory_in_proportion_to_its_bytes(opcode: OpCode, response: bytes) -> None:
    payload = encode(ReplyHeader(1, 1, 0)) + response
    if opcode is OpCode.GET_ACL:  # entries of the fewest bytes there are: two null strings
        entries = b"\x00\x00\x00\x1f\xff\xff\xff\xff\xff\xff\xff\xff" * 30_000
        payload = encode(ReplyHeader(1, 1, 0)) + (30_000).to_bytes(4, "big") + entries + bytes(68)
    connection, _ = established([opcode], random.Random(0))
    assert peak_of(connection, frame(payload)) < 50 * len(payload)
    assert connection.state is ConnectionState.ESTABLISHED


def test_error_code_and_event_type_that_nobody_knows_are_handed_on() -> None:
    connection, (request,) = established([OpCode.EXISTS], random.Random(0))
    connection.receive_data(frame(encode(ReplyHeader(request.xid, 1, -999))), 0.0)
    event = connection.next_event(0.0)
    assert isinstance(event, Replied)
    assert event.err == -999
    assert event.err not in set(ErrorCode)
    unknown = next(payload for payload in NOTIFICATIONS)[:16] + b"\x00\x00\x00\x63" + NOTIFICATIONS[0][20:]
    connection.receive_data(frame(unknown), 0.0)
    notified = connection.next_event(0.0)
    assert isinstance(notified, Notified)
    assert notified.event.type == 0x63
    assert notified.event.type not in set(EventType)
