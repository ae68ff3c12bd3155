"""Verbs that speak to a server: one session, from the first frame of the command to its last."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

from ..client.client import Client, connect
from ..errors import NoNodeError
from ..frames import Frame
from ..hosts import parse_hosts
from .common import LIMIT
from .program import connect_arguments, run_until_signal


def in_session(
    options: argparse.Namespace,
    verb: Callable[[Client, argparse.Namespace], Awaitable[None]],
    on_frame: Callable[[Frame], Any] | None = None,
) -> None:
    """Run `verb` in a session of its own, with the options of `connection_options`; `on_frame` sees its frames."""
    dump = None
    if options.verbose:
        from ..explain.dump import print_frame  # late: the dumps are construct's work, which takes 20 ms to load

        dump = print_frame

    def take(frame: Frame) -> None:
        if dump is not None:
            dump(frame, limit=LIMIT)
        if on_frame is not None:
            on_frame(frame)

    observed = take if on_frame or dump else None
    arguments = connect_arguments(options)

    async def run() -> None:
        async with connect(**arguments, on_frame=observed, new_session=False) as zk:
            try:
                await verb(zk, options)
            except NoNodeError as error:
                await _look_for_chroot(zk, options, error)
                raise

    run_until_signal(run)


async def _look_for_chroot(zk: Client, options: argparse.Namespace, error: NoNodeError) -> None:
    """Whether a znode is missing or the chroot is: the error says so."""
    chroot = parse_hosts(options.hosts)[1]
    if chroot and options.verb != "send":  # whose paths are the server's own
        is_missing = await zk.exists("/") is None
        error.reason = f"the chroot {chroot} does not exist; zkwire create -p creates it" if is_missing else ""
