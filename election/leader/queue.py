"""Mode `sequential`: candidates lead in the order in which they came. Each has a child of the path, the contender, and
watches the contender before its own."""

from __future__ import annotations

from zkwire import Check, CreateMode, NoNodeError

from ..ephemeral import OwnedEphemeral, delete_own, ensured, must_be_owned, retried
from .campaign import Campaign, Plan, Victory, WaitedFor
from .dialects import contenders
from .states import Progress, State


class SequentialCampaign(Campaign):
    """A campaign that waits in a queue."""

    def __init__(self, plan: Plan, progress: Progress, *, wait: bool) -> None:
        super().__init__(plan, progress, wait=wait)
        self._contender = self._new_contender()

    @property
    def mark(self) -> str:
        return self._name or self.guid

    @property
    def node(self) -> str:
        return f"{self.plan.paths.path}/{self._name}"

    @property
    def _name(self) -> str:
        """The name of our contender; empty before it is created."""
        return (self._contender.node or "").rpartition("/")[2]

    async def win(self) -> Victory:
        plan, path = self.plan, self.plan.paths.path
        while True:
            try:
                names = await retried(lambda: self.session.get_children(path))
            except NoNodeError:
                names = []
            if self._name not in names:
                # It is not created yet; or somebody has deleted it, alone or with the whole path (rules W9, W17).
                if self._name:
                    plan.witness.contender_was_deleted(self._any_lease())
                contenders(names, plan.dialect, path, plan.mixed)
                await self._enter()
                continue
            queue = contenders(names, plan.dialect, path, plan.mixed)
            for duplicate in plan.dialect.own(names, self.guid):
                if duplicate != self._name:
                    await delete_own(self.session, f"{path}/{duplicate}", lambda data, stat: True)
            place = queue.index(self._name)
            if place > 0:
                if place > 1:
                    await self._check_first(f"{path}/{queue[0]}")
                await self._wait_for(f"{path}/{queue[place - 1]}")
                continue
            try:
                victory = await self.begin(self.node, Check(self.node))
            except NoNodeError as error:
                if error.index != 0:
                    raise
                continue  # somebody has deleted our contender
            if victory is not None:
                return victory

    async def withdraw_contender(self) -> None:
        await self._contender.delete()

    def _new_contender(self) -> OwnedEphemeral:
        plan = self.plan
        return OwnedEphemeral(
            plan.client,
            self.session,
            f"{plan.paths.path}/{plan.dialect.prefix(self.guid)}",
            mode=CreateMode.EPHEMERAL_SEQUENTIAL,
            acl=plan.acl,
            has_guid=True,
        )

    async def _enter(self) -> None:
        """Create our contender, with as many requests as it takes, but never a second contender (rules C1 to C7)."""
        self.progress.become(State.ENTERING)
        if self._contender.node is not None:
            self._contender.forget()
            self.renew_guid()
            self._contender = self._new_contender()
        created = False
        while not created:
            try:
                created = await self._contender.create(self.plan.data)
            except NoNodeError:
                await ensured(self.session, self.plan.paths.path, self.plan.acl)

    async def _check_first(self, node: str) -> None:
        """Raises ElectionError if no session owns the first contender: other programs would wait for it for ever."""
        stat = await retried(lambda: self.session.exists(node))
        if stat is not None:
            must_be_owned(node, stat)

    async def _wait_for(self, node: str) -> None:
        """Wait until something happens to the contender before ours."""
        name = node.rpartition("/")[2]
        try:
            # Not `exists`: if the znode is gone, that would leave a watch on the server (rule W2).
            _, stat, watch = await retried(lambda: self.session.get_data_and_watch(node))
        except NoNodeError:
            self.waited_for = WaitedFor(name)
            return
        async with watch:
            must_be_owned(node, stat)
            if self.is_left_over(node.encode(), stat):
                await delete_own(self.session, node, lambda data, stat: True)
            else:
                self.somebody_comes_first()
                await self.wait(watch, name)
