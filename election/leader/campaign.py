"""One campaign: from the first request to the moment from which nobody else can lead.

A campaign belongs to one session and has one GUID, by which its znodes are told from all others. Both modes end in the
same way: one transaction begins the term, or fails. They differ in how a contender waits for its turn.
"""

from __future__ import annotations

import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import trio

from zkwire import (
    ACL,
    BadVersionError,
    BoundClient,
    Check,
    Client,
    Create,
    CreateMode,
    Delete,
    EventType,
    KeeperState,
    MultiOperation,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotReadOnlyError,
    SetData,
    Stat,
    Watch,
    ZkwireError,
    ZooKeeperError,
)

from ..ephemeral import SESSION_OVER, UNCERTAIN, delete_own, ensured, must_be_owned, read_write, retried, synced
from ..errors import CampaignTimeout
from .dialects import Dialect, new_guid
from .paths import ElectionPaths, parent_of
from .states import Progress, State
from .witness import DELETED, LEADING, RESIGNED, Witness

C = TypeVar("C", bound="Campaign")

#: How the previous term ended; "none" when nobody led before.
Predecessor = Literal["none", "resigned", "expired", "deleted"]

#: GUIDs of the campaigns and terms of this process. A znode of our own session that has none of them was left behind by
#: another process that had the session before (rules C10, R3).
GUIDS_IN_USE: set[str] = set()
#: In the name of a contender, or in a mark: with dashes, or as kazoo has it without.
_GUID = re.compile(rb"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


@dataclass(frozen=True)
class Plan:
    """What all campaigns of an election have in common."""

    client: Client
    paths: ElectionPaths
    data: bytes
    dialect: Dialect
    acl: Sequence[ACL]
    mixed: Literal["raise", "warn"]
    jitter: float
    witness: Witness


class Victory(NamedTuple):
    """A campaign that was won: a transaction was committed that succeeds only for a leader.

    Attributes:
        node: the path of the leader's znode.
        predecessor: how the previous term ended.
        sent: when that transaction was sent, on trio's clock.
        stat: of the leader's znode, after it.
        watch: fires when that znode is deleted.
    """

    node: str
    predecessor: Predecessor
    sent: float
    stat: Stat
    watch: Watch


class Gone(NamedTuple):
    """Somebody whose znode was watched until it was deleted.

    Attributes:
        name: what the epoch calls it; "" where that is not known.
        zxid: of the deletion; -1 where that is not known.
    """

    name: str
    zxid: int = -1

    def led(self, record: bytes | None) -> bool:
        """Whether the epoch says that it was the last who led, and not that it has finished."""
        return record is not None and (
            record == LEADING + self.name.encode() or (not self.name and record.startswith(LEADING))
        )


class Campaign(ABC):
    """A contender in one session."""

    def __init__(self, plan: Plan, progress: Progress, *, wait: bool) -> None:
        """With `wait=False` it raises CampaignTimeout instead of waiting for others."""
        self.plan = plan
        self.progress = progress
        self._wait = wait
        self.session = plan.client.bound()
        self.guid = new_guid()
        GUIDS_IN_USE.add(self.guid)
        #: Whether the holder, and in mode `simple` the leader's znode, may be ours.
        self.may_lead = False
        #: Whether the body has begun: from then on `resign` ends the campaign, and before that leaving its block does.
        self.body_has_begun = False
        self._over = False  # nothing of ours is left
        self._before: bytes | None = None  # what the epoch said before our term; None: not known
        self._holder_until: float | None = None  # see Witness.succeeds; None if no holder was found
        self.gone: Gone | None = None  # whom we waited for

    async def __aenter__(self: C) -> C:
        return self

    async def __aexit__(self, *error: object) -> None:
        if not self.body_has_begun and not self._over:
            with trio.CancelScope(shield=True):
                await self.withdraw()

    @property
    @abstractmethod
    def mark(self) -> str:
        """What names this contender in the holder and in the epoch; it contains the GUID."""

    @property
    @abstractmethod
    def node(self) -> str:
        """The leader's znode of this contender, once it leads."""

    @abstractmethod
    async def win(self) -> Victory:
        """Wait for the turn, and begin the term.

        Raises:
            MixedDialect, ElectionError: the path is not fit for an election.
            SessionExpiredError, ClosedError, AuthFailedError: the session is over.
            ZooKeeperError: what else the servers refused, as NoAuthError.
        """

    @abstractmethod
    async def withdraw_contender(self) -> None:
        """Delete what stands for this contender in the election itself."""

    async def withdraw(self) -> None:
        """Delete all znodes of this campaign, however far it came, also those whose creation was never answered (rule
        C9). Ends when that is done or the session is over. Not while a body runs."""
        try:
            if self.session.session.id:  # a session that never began has created no znodes
                if self.may_lead:
                    await self._retract()
                await self.withdraw_contender()
        except SESSION_OVER:
            pass
        finally:
            GUIDS_IN_USE.discard(self.guid)
        self._over = True

    async def resign(self, node: str, version: int) -> None:
        """End the term in one transaction, which also tells the successor that it is a hand-over (rule P11). `version`
        is the data version of the node. Ends when that is done or the session is over (rule R2)."""
        paths = self.plan.paths
        try:
            with self._permissions_explained():
                while await self._end(Delete(node, version), Delete(paths.holder), self._last_word(RESIGNED)):
                    # The outcome is not known, or somebody wrote to the node.
                    if not await self.holds():
                        break
                    stat = await retried(lambda: self.session.exists(node))
                    if stat is None or not self.owns(stat):
                        await self.finish_deleted()
                        break
                    version = stat.version
        except SESSION_OVER:
            pass
        except NoNodeError:
            await self.finish_deleted()
        finally:
            GUIDS_IN_USE.discard(self.guid)
        self._over = True

    async def finish_deleted(self) -> None:
        """End a term whose node was deleted by somebody: no hand-over, but what is left of it must go."""
        self.plan.witness.went(self._any_lease())
        try:
            while await self.holds() and await self._end(Delete(self.plan.paths.holder), self._last_word(DELETED)):
                continue
        except (NoNodeError, *SESSION_OVER):
            pass
        await self.withdraw()

    async def holds(self) -> bool:
        """Whether the holder is this campaign's, by what all servers agree on."""
        holder = self.plan.paths.holder
        try:
            data, stat = await synced(self.session, holder, lambda: self.session.get_data(holder))
        except NoNodeError:
            return False
        return self.owns(stat) and data == self.mark.encode()

    # --- for both modes

    def owns(self, stat: Stat) -> bool:
        """Whether a znode is an ephemeral of our session."""
        return stat.ephemeral_owner == self.session.session.id

    async def begin(self, node: str, first: MultiOperation) -> Victory | None:
        """Begin the term: `first` (what makes the node, or checks it), the holder and the epoch, or nothing at all.

        Returns the victory; None means: try again. Raises the server's refusal of `first`, with `index` 0.
        """
        if self.plan.client.state is KeeperState.CONNECTED_READ_ONLY:
            await read_write(self.plan.client)
            return None  # what was listed may be old
        paths, mark = self.plan.paths, self.mark.encode()
        holder = Create(paths.holder, mark, mode=CreateMode.EPHEMERAL, acl=self.plan.acl)
        before, self.may_lead = self.may_lead, True
        self._before = None
        # One after the other on the wire: the reads see the znodes as they were before.
        looking = _Looking(self.session, paths, self.gone)
        proof = _Proof(self.session, node, first, holder, SetData(paths.epoch, LEADING + mark))
        with self._permissions_explained():
            try:
                seen = await looking.done()
            except BaseException:
                await proof.drop()
                raise
            self._note(seen)
            try:
                stat, watch = await proof.committed()
                try:
                    predecessor = await self._judge(seen, proof.epoch)
                except BaseException:
                    watch.disarm()
                    raise
                return Victory(node, predecessor, proof.sent, stat, watch)
            except NotReadOnlyError:
                self.may_lead = before
                await read_write(self.plan.client)
                return None
            except UNCERTAIN:  # the reply is lost, and perhaps not the transaction
                return await self._confirm(node, seen)
            except ZooKeeperError as error:
                if error.index is None and isinstance(error, NoNodeError):  # begun, and its node is gone already
                    return await self._confirm(node, seen)
                if error.index is not None:  # and so nothing was applied
                    self.may_lead = before
                if error.index == 0:
                    self._holder_until = None
                    raise
                if error.index == 1 and isinstance(error, NodeExistsError):
                    await self._wait_for_holder()
                elif isinstance(error, NoNodeError):
                    missing = parent_of(paths.holder) if error.index == 1 else paths.epoch
                    await ensured(self.session, missing, self.plan.acl)
                else:
                    raise
                return None

    @contextmanager
    def _permissions_explained(self) -> Iterator[None]:
        """Adds to a NoAuthError for holder or epoch what these znodes are for, and which permissions are enough."""
        path, _, holder, epoch = self.plan.paths
        try:
            yield
        except NoAuthError as error:
            if error.path in (holder, epoch):
                error.reason = (
                    f"without {holder} and {epoch}, beside {path}, a leader whose znode somebody deletes could not "
                    f"be told from one that has finished, and there could be two; so all candidates must be allowed to "
                    f"create and delete children of {parent_of(holder)}, and to read and write the two; or give the "
                    f"election a path one step deeper, as {path}/leader, the same for all candidates"
                )
            raise

    def renew_guid(self) -> None:
        """Begin anew within the session; nothing with the old GUID is left (rule C3)."""
        GUIDS_IN_USE.discard(self.guid)
        self.guid = new_guid()
        GUIDS_IN_USE.add(self.guid)

    async def _confirm(self, node: str, seen: _Seen) -> Victory | None:
        """Find out whether a term has begun, of whose beginning no reply came; None if not, and then nothing of it is
        left."""
        predecessor = await self._judge(seen, None)
        while await self.holds():
            proof = _Proof(self.session, node, Check(node), Check(self.plan.paths.holder))
            try:
                stat, watch = await proof.committed()
                return Victory(node, predecessor, proof.sent, stat, watch)
            except NotReadOnlyError:
                await read_write(self.plan.client)
            except UNCERTAIN:
                continue
            except NoNodeError:
                break
        await self._drop_holder()
        return None

    def comes_second(self) -> None:
        """Somebody else comes first."""
        self.plan.witness.waits(self.plan.client.last_zxid, self._any_lease())

    async def wait(self, watch: Watch, name: str | None = None) -> None:
        """Wait for what is watched; the next request tells when it was the end of the session (rule W10).

        `name` is the epoch's name for the candidate that is waited for, if the watch is on that candidate's znode.
        """
        if not self._wait:
            raise CampaignTimeout(f"{self.plan.paths.path}: somebody else leads or comes first")
        self.progress.become(State.WAITING)
        event = await watch.wait()
        if name is not None and event.type == EventType.NODE_DELETED:
            self.gone = Gone(name, event.zxid)

    def is_left_over(self, data: bytes | None, stat: Stat) -> bool:
        """Whether a znode that is marked with `data` is this session's, and of no campaign of this process."""
        if not self.owns(stat):
            return False
        return not any(str(uuid.UUID(guid.decode())) in GUIDS_IN_USE for guid in _GUID.findall(data or b""))

    async def _end(self, *operations: MultiOperation) -> bool:
        """Commit it; whether it is to be tried again."""
        try:
            await self.session.multi(operations)
        except NotReadOnlyError:
            await read_write(self.plan.client)
            return True
        except (BadVersionError, *UNCERTAIN):
            return True
        return False

    async def _drop_holder(self) -> None:
        mark = self.mark.encode()
        await delete_own(self.session, self.plan.paths.holder, lambda data, stat: data == mark)

    async def _wait_for_holder(self) -> None:
        """Another leader's znode is gone, and it still works, or may: wait until it has finished, or its session has
        expired, and so its lease is over."""
        if self._holder_until is None:
            self._holder_until = self._any_lease()
        holder = self.plan.paths.holder
        try:
            data, stat, watch = await retried(lambda: self.session.get_data_and_watch(holder))
        except NoNodeError:
            return
        async with watch:
            must_be_owned(holder, stat)
            if not self.is_left_over(data, stat):
                await self.wait(watch)
                return
            # Our session, and not our doing: another process led with it. Its last proof is older than our session's
            # connection, so that its lease is over one timeout from now.
            with trio.move_on_after(self.plan.client.session_timeout):
                await self.wait(watch)
                return
        await delete_own(self.session, holder, lambda found, _: found == data)

    async def _retract(self) -> None:
        """End a term, if one has begun, that has no body."""
        holder = self.plan.paths.holder
        while await self.holds():
            stat = await retried(lambda: self.session.exists(self.node))
            ours = stat is not None and self.owns(stat)
            node = [Delete(self.node, stat.version)] if stat is not None and ours else []
            last_word = self._last_word(RESIGNED)
            try:
                if not await self._end(*node, Delete(holder), last_word):
                    break
            except NoNodeError as error:  # deleted by somebody
                if error.path == last_word.path:
                    await self._drop_holder()

    # --- whether another leader may still work

    def _any_lease(self) -> float:
        """When all leases are over whose proofs were committed before now: no proof is committed without both
        znodes."""
        return trio.current_time() + self.plan.client.session_timeout

    def _note(self, seen: _Seen) -> None:
        """Hand what the epoch says to the witness, even if the term does not begin."""
        stat = seen.epoch
        if stat is not None:
            self.plan.witness.sees(seen.last_term or b"", stat.czxid, self._any_lease(), trio.current_time())
        elif seen.last_term is not None:
            self.plan.witness.epoch_is_missing(self._any_lease(), seen.holders)

    async def _judge(self, seen: _Seen, written: Stat | None) -> Predecessor:
        """Our term has begun: how the previous one ended. `written` is the epoch's Stat after that, None if the reply
        was lost."""
        witness, parted = self.plan.witness, None
        if self.gone is not None and self.gone.led(seen.last_term) and seen.holders is not None:
            went = self.gone.zxid if seen.contenders is None else seen.contenders
            if went < 0:  # a server that does not send the zxid: take that of the last change of any contender
                stat = await retried(lambda: self.session.exists(self.plan.paths.parent))
                went = -1 if stat is None else stat.pzxid
            if seen.holders < went:  # the holder was deleted in an earlier transaction than the leader's znode
                parted = self._any_lease()
        witness.succeeds(seen.last_term, self._holder_until, parted)
        if seen.last_term is None and witness.has_waited:
            witness.suspect(self._any_lease())
        if written is not None:
            found = seen.epoch
            before = (written.czxid, 0) if found is None else (found.czxid, found.version)
            if (written.czxid, written.version - 1) != before:
                witness.suspect(self._any_lease())  # somebody else wrote the epoch since it was read, or made it again
            witness.wrote(written.czxid)
        self._before = record = seen.last_term
        if self._holder_until is not None or witness.until > trio.current_time():
            return "deleted"
        if record is None or record.startswith(LEADING):
            return "expired"
        if record.startswith(RESIGNED):
            return "resigned"
        return "deleted" if record else "none"

    def _doubt(self) -> float:
        """For how many seconds another leader may still work."""
        if self._before is None and self.plan.witness.has_waited:
            return self.plan.client.session_timeout  # the term began, and the epoch from before it is not known
        return max(0.0, self.plan.witness.until - trio.current_time())

    def _last_word(self, word: bytes) -> SetData:
        """What the epoch says when this term has ended: that its body has finished; or, if no body began, what was
        known before the term."""
        if self.body_has_begun:
            record = word + self.mark.encode()
        elif (seconds := self._doubt()) > 0:
            record = self.plan.witness.doubt(self.mark, seconds)
        elif self._before is None:
            record = LEADING + self.mark.encode()
        elif self._before.startswith((LEADING, DELETED)):
            record = self._before
        else:
            record = RESIGNED + self.mark.encode()
        return SetData(self.plan.paths.epoch, record)


class _Seen(NamedTuple):
    """The znodes as they were before a term began. `last_term` is the epoch's data: b"" if the epoch is missing, None
    if that is not known. `holders` and `contenders` are the pzxids of the parents of the holder and of the
    contenders."""

    last_term: bytes | None = None
    epoch: Stat | None = None
    holders: int | None = None
    contenders: int | None = None


class _Looking:
    """The reads before the transaction that begins a term, all sent at once."""

    def __init__(self, session: BoundClient, paths: ElectionPaths, gone: Gone | None) -> None:
        self._epoch = session.get_data(paths.epoch)
        self._holders = None if gone is None else session.exists(parent_of(paths.holder))
        # In mode `simple` the transaction itself changes that one; in mode `sequential` it can be read when it matters.
        aside = gone is not None and gone.zxid < 0 and paths.parent != paths.path
        self._contenders = session.exists(paths.parent) if aside else None

    async def done(self) -> _Seen:
        """What was found; `last_term` is None where the connection was lost."""
        seen = _Seen()
        with suppress(*UNCERTAIN):  # the transaction then fails in the same way
            try:
                data, stat = await self._epoch
                seen = _Seen(data or b"", stat)
            except NoNodeError:
                seen = _Seen(b"")
            if self._holders is not None and (found := await self._holders) is not None:
                seen = seen._replace(holders=found.pzxid)
            if self._contenders is not None and (found := await self._contenders) is not None:
                seen = seen._replace(contenders=found.pzxid)
        return seen


class _Proof:
    """A transaction that succeeds only for a leader, and right after it a watch on the leader's znode."""

    def __init__(self, session: BoundClient, node: str, *operations: MultiOperation) -> None:
        """Sends both."""
        self._session = session
        #: The epoch as the transaction left it, if it wrote there.
        self.epoch: Stat | None = None
        #: When, on trio's clock.
        self.sent = trio.current_time()
        self._transaction = session.multi(operations)
        self._arming = session.get_children2_and_watch(node)

    async def committed(self) -> tuple[Stat, Watch]:
        """The leader's znode, and the watch on it, when the transaction is committed.

        Raises the error of the transaction, or NoNodeError without an index if the znode has been deleted since.
        """
        try:
            results = await self._transaction
        except BaseException:
            await self.drop()
            raise
        if len(results) == 3:
            self.epoch = results[2]
        _, stat, watch = await self._arming
        return stat, watch

    async def drop(self) -> None:
        """Leave no watch behind."""
        if not self._session.session.id:  # nothing was sent, and there may never be a reply
            self._transaction.close()
            self._arming.close()
            return
        with trio.CancelScope(shield=True), suppress(ZkwireError):
            (await self._arming)[2].disarm()
