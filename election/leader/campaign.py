"""One campaign: from its first request until nobody else can lead.

A campaign belongs to one session and has one GUID, which tells its znodes from all others. In both modes a campaign is
won in the same way: one transaction begins the term, or fails. The modes differ in how a candidate waits for its turn
(queue.py, single.py).
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

#: GUIDs of the campaigns and terms of this process. A znode of our own session that has none of them was created by
#: another process, which had the session before (rules C10, R3).
GUIDS_IN_USE: set[str] = set()
#: A GUID in the name of a contender or in a mark: with dashes, or without as in kazoo's names.
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
        stat: that of the leader's znode, after the transaction.
        watch: fires when that znode is deleted.
    """

    node: str
    predecessor: Predecessor
    sent: float
    stat: Stat
    watch: Watch


class WaitedFor(NamedTuple):
    """Another candidate, whose znode we watched until it was deleted.

    Attributes:
        name: its name in the epoch; "" if that is not known.
        zxid: the zxid of the deletion; -1 if that is not known.
    """

    name: str
    zxid: int = -1

    def led(self, record: bytes | None) -> bool:
        """Whether it led last and has not finished, according to `record`, the data of the epoch."""
        return record is not None and (
            record == LEADING + self.name.encode() or (not self.name and record.startswith(LEADING))
        )


class Campaign(ABC):
    """One candidate's attempt to lead, in one session. It is a block; leaving it before the body has begun deletes the
    candidate's znodes.

    async with SequentialCampaign(plan, progress, wait=True) as campaign:
        victory = await campaign.win()
        ...
        campaign.body_has_begun = True  # from now on `resign` ends the campaign
    """

    def __init__(self, plan: Plan, progress: Progress, *, wait: bool) -> None:
        """With `wait=False`, `win` raises CampaignTimeout instead of waiting for other candidates."""
        self.plan = plan
        self.progress = progress
        self._wait = wait
        self.session = plan.client.bound()
        self.guid = new_guid()
        GUIDS_IN_USE.add(self.guid)
        #: Whether the holder, and in mode `simple` the leader's znode, may be ours.
        self.may_lead = False
        #: Whether the body has begun.
        self.body_has_begun = False
        self._over = False  # nothing of ours is left
        self._before: bytes | None = None  # the data of the epoch before our term; None: not known
        self._holder_until: float | None = None  # see Witness.succeeds; None if no holder was found
        self.waited_for: WaitedFor | None = None  # the last one

    async def __aenter__(self: C) -> C:
        return self

    async def __aexit__(self, *error: object) -> None:
        if not self.body_has_begun and not self._over:
            with trio.CancelScope(shield=True):
                await self.withdraw()

    @property
    @abstractmethod
    def mark(self) -> str:
        """The name of this candidate in the holder and in the epoch; it contains the GUID."""

    @property
    @abstractmethod
    def node(self) -> str:
        """The path of the leader's znode, if this candidate leads."""

    @abstractmethod
    async def win(self) -> Victory:
        """Wait for the turn, and begin the term.

        Raises:
            CampaignTimeout: with `wait=False`, if somebody else leads or comes first.
            MixedDialect, ElectionError: no election can be held at this path.
            SessionExpiredError, ClosedError, AuthFailedError: the session is over.
            ZooKeeperError: the servers refuse something, as with NoAuthError.
        """

    @abstractmethod
    async def withdraw_contender(self) -> None:
        """Delete the znode of this candidate at the path or below it."""

    async def withdraw(self) -> None:
        """Delete all znodes of this campaign, also those whose creation was never answered (rule C9). Not to be called
        while a body runs. Returns when they are gone or the session is over."""
        try:
            if self.session.session.id:  # a session that never began has created no znodes
                if self.may_lead:
                    await self._end_without_body()
                await self.withdraw_contender()
        except SESSION_OVER:
            pass
        finally:
            GUIDS_IN_USE.discard(self.guid)
        self._over = True

    async def resign(self, node: str, version: int) -> None:
        """End the term in one transaction, which also tells the next leader that this is a hand-over (rule P11).
        Returns when that is done or the session is over (rule R2).

        Args:
            node: the path of the leader's znode.
            version: its data version.
        """
        paths = self.plan.paths
        try:
            with self._permissions_explained():
                while not await self._commit(Delete(node, version), Delete(paths.holder), self._last_word(RESIGNED)):
                    # The outcome is not known, or somebody wrote to the znode.
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
        """End a term whose leader's znode somebody has deleted. It is not a hand-over, but the holder is deleted."""
        self.plan.witness.leaders_znode_was_deleted(self._any_lease())
        try:
            while await self.holds():
                if await self._commit(Delete(self.plan.paths.holder), self._last_word(DELETED)):
                    break
        except (NoNodeError, *SESSION_OVER):
            pass
        await self.withdraw()

    async def holds(self) -> bool:
        """Whether the holder is this campaign's. The answer includes all that was committed before."""
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
        """Begin the term with one transaction: `first`, which creates or checks the leader's znode `node`; a create of
        the holder; a write of the epoch.

        Returns the victory; None means: try again. Raises the server's refusal of `first`, with `index` 0.
        """
        if self.plan.client.state is KeeperState.CONNECTED_READ_ONLY:
            await read_write(self.plan.client)
            return None  # it may not be our turn any more
        paths, mark = self.plan.paths, self.mark.encode()
        holder = Create(paths.holder, mark, mode=CreateMode.EPHEMERAL, acl=self.plan.acl)
        before, self.may_lead = self.may_lead, True
        self._before = None
        # The reads are sent before the transaction, so they see the znodes as they were before it.
        looking = _Looking(self.session, paths, self.waited_for)
        proof = _Proof(self.session, node, first, holder, SetData(paths.epoch, LEADING + mark))
        with self._permissions_explained():
            try:
                seen = await looking.done()
            except BaseException:
                await proof.drop()
                raise
            self._tell_witness(seen)
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
            except UNCERTAIN:  # the reply is lost, but the transaction may have been applied
                return await self._confirm(node, seen)
            except ZooKeeperError as error:
                if error.index is None and isinstance(error, NoNodeError):  # applied; `node` was deleted since
                    return await self._confirm(node, seen)
                if error.index is not None:  # nothing was applied
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
        """Adds to a NoAuthError for the holder or the epoch why these znodes are needed and which permissions are
        enough."""
        path, _, holder, epoch = self.plan.paths
        try:
            yield
        except NoAuthError as error:
            if error.path in (holder, epoch):
                error.reason = (
                    f"an election needs {holder} and {epoch} beside {path}, so that there are never two leaders when "
                    f"somebody deletes the leader's znode; allow all candidates to create and delete children of "
                    f"{parent_of(holder)}, and to read and write these two; or give all candidates a path one step "
                    f"deeper, such as {path}/leader"
                )
            raise

    def renew_guid(self) -> None:
        """Take a new GUID for a new try in the same session (rule C3). No znode with the old one is left."""
        GUIDS_IN_USE.discard(self.guid)
        self.guid = new_guid()
        GUIDS_IN_USE.add(self.guid)

    async def _confirm(self, node: str, seen: _Seen) -> Victory | None:
        """Find out whether the term has begun, after the reply was lost. Returns None if it has not; then nothing of it
        is left."""
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
        await self._delete_holder()
        return None

    def somebody_comes_first(self) -> None:
        """Tell the witness that another candidate comes first."""
        self.plan.witness.waits(self.plan.client.last_zxid, self._any_lease())

    async def wait(self, watch: Watch, name: str | None = None) -> None:
        """Wait until the watch fires. It also fires when the session is over; then the next request fails (rule W10).

        `name`: if the watch is on the znode of another candidate, the name of that candidate in the epoch.
        """
        if not self._wait:
            raise CampaignTimeout(f"{self.plan.paths.path}: somebody else leads or comes first")
        self.progress.become(State.WAITING)
        event = await watch.wait()
        if name is not None and event.type == EventType.NODE_DELETED:
            self.waited_for = WaitedFor(name, event.zxid)

    def is_left_over(self, data: bytes | None, stat: Stat) -> bool:
        """Whether another process, which had our session before, has created this znode. `data` has a GUID in it."""
        if not self.owns(stat):
            return False
        return not any(str(uuid.UUID(guid.decode())) in GUIDS_IN_USE for guid in _GUID.findall(data or b""))

    async def _commit(self, *operations: MultiOperation) -> bool:
        """Send a transaction that ends a term. Returns whether it is certain that it was committed."""
        try:
            await self.session.multi(operations)
        except NotReadOnlyError:
            await read_write(self.plan.client)
            return False
        except (BadVersionError, *UNCERTAIN):
            return False
        return True

    async def _delete_holder(self) -> None:
        mark = self.mark.encode()
        await delete_own(self.session, self.plan.paths.holder, lambda data, stat: data == mark)

    async def _wait_for_holder(self) -> None:
        """Another leader's znode is gone, but its body may still run: wait until its holder is gone. Then the body has
        finished, or the session has expired, and its lease was over before that."""
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
            # Another process led with our session. Its last proof is older than our connection, so its lease is over
            # one timeout from now.
            with trio.move_on_after(self.plan.client.session_timeout):
                await self.wait(watch)
                return
        await delete_own(self.session, holder, lambda found, _: found == data)

    async def _end_without_body(self) -> None:
        """End our term, if it has begun. Its body has not begun."""
        holder = self.plan.paths.holder
        while await self.holds():
            stat = await retried(lambda: self.session.exists(self.node))
            ours = stat is not None and self.owns(stat)
            node = [Delete(self.node, stat.version)] if stat is not None and ours else []
            last_word = self._last_word(RESIGNED)
            try:
                if await self._commit(*node, Delete(holder), last_word):
                    break
            except NoNodeError as error:  # somebody has deleted it
                if error.path == last_word.path:
                    await self._delete_holder()

    # --- whether another leader may still work

    def _any_lease(self) -> float:
        """When all leases that other leaders may have now are over: one timeout from now. Leaders whose znodes are gone
        get no new proofs."""
        return trio.current_time() + self.plan.client.session_timeout

    def _tell_witness(self, seen: _Seen) -> None:
        """Tell the witness what the epoch says, even if our term does not begin."""
        stat = seen.epoch
        if stat is not None:
            self.plan.witness.sees(seen.last_term or b"", stat.czxid, self._any_lease(), trio.current_time())
        elif seen.last_term is not None:
            self.plan.witness.epoch_is_missing(self._any_lease(), seen.holders)

    async def _judge(self, seen: _Seen, written: Stat | None) -> Predecessor:
        """How the previous term ended, now that ours has begun. `written` is the Stat of the epoch after our
        transaction; None if its reply was lost."""
        witness, parted = self.plan.witness, None
        if self.waited_for is not None and self.waited_for.led(seen.last_term) and seen.holders is not None:
            deleted = self.waited_for.zxid if seen.contenders is None else seen.contenders
            if deleted < 0:  # the event had no zxid (servers before 3.9): take that of the last change of any contender
                stat = await retried(lambda: self.session.exists(self.plan.paths.parent))
                deleted = -1 if stat is None else stat.pzxid
            if seen.holders < deleted:  # the holder was deleted in an earlier transaction than the leader's znode
                parted = self._any_lease()
        witness.succeeds(seen.last_term, self._holder_until, parted)
        if seen.last_term is None and witness.has_waited:
            witness.suspect(self._any_lease())
        if written is not None:
            found = seen.epoch
            before = (written.czxid, 0) if found is None else (found.czxid, found.version)
            if (written.czxid, written.version - 1) != before:
                witness.suspect(self._any_lease())  # somebody has written or created the epoch since it was read
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
            return self.plan.client.session_timeout  # our term has begun; what the epoch said before is not known
        return max(0.0, self.plan.witness.until - trio.current_time())

    def _last_word(self, word: bytes) -> SetData:
        """What to write into the epoch at the end of this term: `word`, if the body has finished; if no body has begun,
        what was known before the term."""
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
    """The znodes as they were before a term began.

    Attributes:
        last_term: the data of the epoch; b"" if the epoch is missing, None if that is not known.
        epoch: the Stat of the epoch.
        holders: the pzxid of the parent of the holder.
        contenders: the pzxid of the parent of the contenders.
    """

    last_term: bytes | None = None
    epoch: Stat | None = None
    holders: int | None = None
    contenders: int | None = None


class _Looking:
    """The reads before the transaction that begins a term, all sent at once."""

    def __init__(self, session: BoundClient, paths: ElectionPaths, waited_for: WaitedFor | None) -> None:
        self._epoch = session.get_data(paths.epoch)
        self._holders = None if waited_for is None else session.exists(parent_of(paths.holder))
        # In mode `simple` the transaction itself changes this pzxid; in mode `sequential` it can be read later.
        needed = waited_for is not None and waited_for.zxid < 0 and paths.parent != paths.path
        self._contenders = session.exists(paths.parent) if needed else None

    async def done(self) -> _Seen:
        """The replies. `last_term` is None if the connection was lost."""
        seen = _Seen()
        with suppress(*UNCERTAIN):  # then the transaction fails in the same way
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
    """A transaction that succeeds only for a leader, and a watch on the leader's znode, sent right after it."""

    def __init__(self, session: BoundClient, node: str, *operations: MultiOperation) -> None:
        """Sends both."""
        self._session = session
        #: The Stat of the epoch after the transaction, if that has written it.
        self.epoch: Stat | None = None
        #: When it was sent, on trio's clock.
        self.sent = trio.current_time()
        self._transaction = session.multi(operations)
        self._arming = session.get_children2_and_watch(node)

    async def committed(self) -> tuple[Stat, Watch]:
        """Wait until the transaction is committed. Returns the Stat of the leader's znode, and the watch on it.

        Raises the error of the transaction; or NoNodeError with `index` None, if the znode has been deleted since.
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
        """Wait for both replies, and disarm the watch."""
        if not self._session.session.id:  # nothing was sent; there may never be a reply
            self._transaction.close()
            self._arming.close()
            return
        with trio.CancelScope(shield=True), suppress(ZkwireError):
            (await self._arming)[2].disarm()
