"""A service's registry: who registers, and who looks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Literal

from zkwire import ACL, OPEN_ACL_UNSAFE, Client

from ..ephemeral import path_problem
from ..errors import RegistryError
from .layouts import Instance, Layout, NamesLayout
from .layouts.curator import CuratorLayout
from .layouts.serverset import ServersetLayout
from .registration import Registration
from .view import Members


def layout_of(name: str, path: str, now: Callable[[], float]) -> Layout:
    """The layout of this name, for the members below `path`; `now()` is in seconds since 1970. Raises RegistryError for
    a name that is none."""
    match name:
        case "names":
            return NamesLayout()
        case "curator":
            return CuratorLayout(path.rpartition("/")[2], now)
        case "serverset":
            return ServersetLayout()
    raise RegistryError(f"there is no layout {name!r:.40}: names, curator, serverset")


class Registry:
    """The members of one service, as the children of one znode.

        registry = Registry(zk, "/services/daytime")
        async with registry.register("10.0.0.1:8897"): ...
        async with registry.members() as members: ...

    Args:
        zk: the client. Each registration and each view lives on through its sessions.
        path: the service's znode. It need not exist; who registers makes it and its parents.
        layout: "names", "curator" (Curator's x-discovery: the path ends with the service's name) or "serverset"
            (Finagle and Aurora). See election/registry/layouts.

    Raises RegistryError for a layout that is none of them, or a path that cannot be a znode's.
    """

    def __init__(self, zk: Client, path: str, layout: str = "names") -> None:
        if not isinstance(zk, Client):
            raise RegistryError(
                f"a registry needs a zkwire.Client, as zkwire.connect gives one, not {type(zk).__name__}"
            )
        if problem := path_problem(path):
            raise RegistryError(f"a registry has a znode of its own, as /services/daytime, not {path!r:.80}: {problem}")
        if not isinstance(layout, str):
            raise RegistryError(f"the layout is given by its name, as 'names', not {layout!r:.80}")
        self._zk = zk
        self._path = path
        self._layout = layout_of(layout, path, time.time)

    def register(
        self, member: str | Instance, data: bytes = b"", *, acl: Sequence[ACL] = OPEN_ACL_UNSAFE
    ) -> Registration:
        """A registration, for `async with`. Be ready to serve before you enter it.

        Args:
            member: its name, which in the layouts other than "names" is an address, "host:port" or "[host]:port"; or
                a ServiceInstance (curator) or a ServersetMember (serverset) with all fields.
            data: names: the znode's data; curator: text for the payload; serverset has none.
            acl: the znode's.

        Raises RegistryError for what the layout does not have.
        """
        if not isinstance(data, bytes):
            raise RegistryError(
                f"the data of a member must be bytes, not {type(data).__name__}; a str can be given as text.encode()"
            )
        if not isinstance(acl, (list, tuple)) or not acl or not all(isinstance(each, ACL) for each in acl):
            raise RegistryError(f"the acl must be a list or tuple of zkwire.ACL, not empty; got {type(acl).__name__}")
        return Registration(self._zk, self._path, self._layout, self._layout.entry(member, data), acl=acl)

    def members(
        self,
        *,
        errors: int = 2,
        window: float = 30.0,
        when_all_down: Literal["use", "fail"] = "use",
        on_problem: Callable[[str, Exception], object] | None = None,
        rng: random.Random | None = None,
    ) -> Members:
        """A live view, for `async with`.

        Args:
            errors, window: a member with so many errors within so many seconds is down. The defaults are Curator's.
            when_all_down: whether any of them is picked then, or none.
            on_problem: called with the znode's name and the error whenever a member could not be read; it must not
                wait, and what it raises ends the view.
            rng: for chance that can be repeated.
        """
        return Members(
            self._zk,
            self._path,
            self._layout,
            errors=errors,
            window=window,
            when_all_down=when_all_down,
            on_problem=on_problem,
            rng=rng,
        )
