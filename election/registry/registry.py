"""The registry of one service: it makes registrations and views."""

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
    an unknown name."""
    match name:
        case "names":
            return NamesLayout()
        case "curator":
            return CuratorLayout(path.rpartition("/")[2], now)
        case "serverset":
            return ServersetLayout()
    raise RegistryError(f"there is no layout {name!r:.40}; expected names, curator or serverset")


class Registry:
    """The members of one service, as the children of one znode.

        registry = Registry(zk, "/services/daytime")
        async with registry.register("10.0.0.1:8897"): ...
        async with registry.members() as members: ...

    Args:
        zk: the client. Registrations and views go on when it gets a new session.
        path: the service's znode. It need not exist: the first registration creates it, and its parents.
        layout: "names", "curator" (Curator's x-discovery; the path ends with the name of the service) or "serverset"
            (Finagle and Aurora). See election/registry/layouts.

    Raises RegistryError for another layout, or a path that a znode cannot have.
    """

    def __init__(self, zk: Client, path: str, layout: str = "names") -> None:
        if not isinstance(zk, Client):
            raise RegistryError(
                f"a registry needs a zkwire.Client, as zkwire.connect gives one, not {type(zk).__name__}"
            )
        if problem := path_problem(path):
            raise RegistryError(
                f"a registry needs the path of a znode, such as /services/daytime, not {path!r:.80}: {problem}"
            )
        if not isinstance(layout, str):
            raise RegistryError(f"the layout is given by its name, such as 'names', not {layout!r:.80}")
        self._zk = zk
        self._path = path
        self._layout = layout_of(layout, path, time.time)

    def register(
        self, member: str | Instance, data: bytes = b"", *, acl: Sequence[ACL] = OPEN_ACL_UNSAFE
    ) -> Registration:
        """A registration, for `async with`. Start to serve before you enter it: clients find you at once.

        Args:
            member: its name; in the layouts other than "names" an address, "host:port" or "[host]:port". Or all its
                fields: a ServiceInstance (curator) or a ServersetMember (serverset).
            data: names: the data of the znode; curator: the payload, text in UTF-8; serverset: must be empty.
            acl: the ACL of the znode.

        Raises RegistryError for a member or data that the layout cannot hold.
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
            errors, window: a member that has had this many errors (`note_error`) within this many seconds is down. The
                defaults are Curator's.
            when_all_down: "use": when all members are down, any of them is picked; "fail": picking raises
                NoMembersError.
            on_problem: called with the name of the znode and the error whenever a member cannot be read. It must not
                wait. If it raises, the view ends with that error.
            rng: the source of random numbers for picks; default: a new random.Random().
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
