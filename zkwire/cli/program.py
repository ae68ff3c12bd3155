"""For programs whose command line connects to ZooKeeper: options for the connection, and an end by signals.

The verbs of `zkwire` and of `python -m election` use it, and so can any program that uses argparse:

    parser = zkwire.CommandParser()
    zkwire.add_connection_options(parser)
    options = parser.parse_args()

    async def main() -> None:
        async with zkwire.connect(**zkwire.connect_arguments(options)) as zk: ...

    zkwire.run_until_signal(main)
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .. import paths
from ..codes import KeeperState
from ..errors import LocalProtocolError

if TYPE_CHECKING:
    import ssl

    from ..client.client import Client

T = TypeVar("T")

DEFAULT_HOSTS = "127.0.0.1:2181"

_AUTH_FORMAT = "expected SCHEME:CREDENTIALS, as digest:user:password"


# --- options of the connection


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose error messages never show the value of --auth."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given: Sequence[str] = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if not message.startswith("argument --auth"):  # our own message about --auth shows no credentials
            for credentials in _credentials(getattr(self, "_given", ())):
                message = message.replace(credentials, "<credentials>")
        super().error(message)


def _credentials(arguments: Sequence[str]) -> Iterator[str]:
    """The values of --auth among the arguments, even if the option is abbreviated."""
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        name, equals, value = argument.partition("=")
        if len(name) > 2 and "--auth".startswith(name) and (found := value if equals else following):
            yield found


def add_connection_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add --hosts, --session-timeout, --auth, --tls, --ca, --cert and --key."""
    parser.add_argument(
        "--hosts",
        default=os.environ.get("ZKWIRE_HOSTS", DEFAULT_HOSTS),
        help="the servers, HOST:PORT,HOST:PORT..., and perhaps a chroot, /PATH, after them "
        f"(default: $ZKWIRE_HOSTS or {DEFAULT_HOSTS})",
    )
    parser.add_argument(
        "--session-timeout", type=float, default=10.0, metavar="S", help="the session timeout in seconds (default: 10)"
    )
    parser.add_argument(
        "--auth",
        type=_auth,
        action="append",
        metavar="SCHEME:CREDENTIALS",
        help="authenticate, for example with digest:user:password; can be repeated. Without it $ZKWIRE_AUTH is used, "
        "which has one SCHEME:CREDENTIALS per line. That is safer: everybody on this machine can see the arguments of "
        "its processes",
    )
    parser.add_argument("--tls", action="store_true", help="use TLS, and check the certificates of the servers")
    parser.add_argument(
        "--ca", metavar="FILE", help="with --tls: trust these authorities, in PEM (default: those of the system)"
    )
    parser.add_argument("--cert", metavar="FILE", help="with --tls: the certificate of this client, in PEM")
    parser.add_argument(
        "--key",
        metavar="FILE",
        help="the key of --cert, in PEM, without a passphrase (default: it is in the same file)",
    )


def connect_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments for `zkwire.connect` that follow from the options of `add_connection_options`.

    Raises:
        LocalProtocolError: the options do not fit together, a file cannot be used, or $ZKWIRE_AUTH has another format.
            The message is one line, and shows no credentials.
    """
    return {
        "hosts": options.hosts,
        "session_timeout": options.session_timeout,
        "auth": _auth_of_the_environment() if options.auth is None else options.auth,
        "ssl_context": _ssl_context(options),
    }


def check_path(path: str, *, sequential: bool = False) -> None:
    """Raise a LocalProtocolError that says why no znode can have this path, if none can. It needs no connection.

    `sequential`: the server will append digits, so the path may end in a slash.
    """
    problem = paths.problem(path, sequential=sequential)
    if problem is not None:
        is_relative = path and not path.startswith("/")
        raise LocalProtocolError(f"{problem}: a path begins at the root" if is_relative else problem)


def _auth(text: str) -> tuple[str, bytes]:
    scheme, colon, credentials = text.partition(":")
    if not (scheme and colon):
        raise argparse.ArgumentTypeError(_AUTH_FORMAT)
    return scheme, os.fsencode(credentials)


def _auth_of_the_environment() -> list[tuple[str, bytes]]:
    found = []
    for number, line in enumerate(os.environ.get("ZKWIRE_AUTH", "").replace("\r\n", "\n").split("\n"), 1):
        try:
            found += [_auth(line)] if line.strip() else []
        except argparse.ArgumentTypeError as error:
            raise LocalProtocolError(f"$ZKWIRE_AUTH, line {number}: {error}") from None
    return found


def _ssl_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    files = {name: path for name in ("ca", "cert", "key") if (path := getattr(options, name)) is not None}
    if not options.tls:
        if files:
            raise LocalProtocolError(f"--{next(iter(files))} is for TLS: give --tls too")
        return None
    if options.key is not None and options.cert is None:
        raise LocalProtocolError("--key is the key of a certificate: give that with --cert")
    contents = {name: _content(name, path) for name, path in files.items()}
    import ssl  # late: most connections do not use it

    try:
        context = ssl.create_default_context(cafile=options.ca)
    except ssl.SSLError:
        raise LocalProtocolError(f"--ca {options.ca}: expected certificates in PEM") from None
    if options.cert is not None:
        if options.key is None and b"PRIVATE KEY-----" not in contents["cert"]:
            raise LocalProtocolError(f"--cert {options.cert}: the file has no private key: give the key with --key")
        try:
            context.load_cert_chain(options.cert, options.key, password=_refuse_passphrase)
        except ssl.SSLError as error:
            files_given = f"--cert {options.cert}" + (f" --key {options.key}" if options.key else "")
            reason = {
                "KEY_VALUES_MISMATCH": "the private key is not that of the certificate",
            }.get(error.reason or "", "expected a certificate and its private key, in PEM")
            raise LocalProtocolError(f"{files_given}: {reason}") from None
    return context


def _content(name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise LocalProtocolError(f"--{name} {path}: {error.strerror}") from None


def _refuse_passphrase() -> NoReturn:
    """Without this, OpenSSL would ask for the passphrase at the terminal, and wait."""
    raise LocalProtocolError("the private key has a passphrase: give a key without one")


async def tell_connection(client: Client, tell: Callable[[str, str], object]) -> None:
    """For a command that keeps running without a connection. Calls `tell("disconnected", sentence)` when the connection
    is lost, and `tell("connected", sentence)` when there is one again. Returns when the client is closed or has no
    session any more."""
    session, connected = client.session_id, True
    async for state in client.states():
        if state is KeeperState.DISCONNECTED and connected:
            connected = False
            tell("disconnected", "no connection to a server any more; what was shown may be out of date")
        elif state is KeeperState.SYNC_CONNECTED and not connected:
            connected = True
            anew = "" if client.session_id == session else ", in a new session"
            session = client.session_id
            tell("connected", f"connected again{anew}")


# --- an end by signals


class EndedBySignal(BaseException):
    """A signal ended the program, after its clients were closed. Like KeyboardInterrupt, it is not an Exception.

    Attributes:
        number: the number of the signal.
        status: the exit status for it, as shells have it: 128 more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number
        self.status = 128 + number


def run_until_signal(main: Callable[[], Awaitable[T]]) -> T:
    """`trio.run(main)`. SIGTERM, SIGHUP and SIGINT cancel it, so that its clients close their sessions.

    Without a handler, SIGTERM and SIGHUP would have no effect on a process with id 1, as in a container; elsewhere they
    would end the program and leave its sessions open. A signal that the program was started to ignore (nohup, or & in
    a script) stays ignored. Outside of the main thread no signal is handled.

    Raises:
        EndedBySignal: SIGTERM or SIGHUP ended it.
        KeyboardInterrupt: SIGINT did.
        What `main` raises.
    """
    import trio  # late: not every command needs it

    came: list[int] = []
    wake: list[Callable[[], object]] = []

    def take(number: int, frame: object) -> None:
        came.append(number)
        for each in wake:
            each()

    async def cancellable() -> T:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            wake.append(lambda: token.run_sync_soon(scope.cancel))
            if came:
                scope.cancel()
            try:
                return await main()
            finally:
                wake.clear()
        if came[0] == signal.SIGINT:
            raise KeyboardInterrupt
        raise EndedBySignal(came[0])

    with _handling(take, "SIGTERM", "SIGHUP", "SIGINT"):
        return trio.run(cancellable)


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """In the block SIGTERM and SIGHUP raise EndedBySignal, at any line, as SIGINT raises KeyboardInterrupt. For code
    that waits without trio, for example for a line on stdin."""

    def end(number: int, frame: object) -> NoReturn:
        raise EndedBySignal(number)

    with _handling(end, "SIGTERM", "SIGHUP"):
        yield


@contextmanager
def _handling(handler: Callable[[int, Any], object], *names: str) -> Iterator[None]:
    """Set the handler for these signals in the block, except for signals that the system lacks or that are ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
            old = signal.getsignal(number)
            if old is not signal.SIG_IGN and old is not None:  # None: not from Python, and nothing could restore it
                before[number] = old
                signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
