"""`zkwire.run`: signals cancel the program's main function, and what goes wrong is one line."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import zkwire
from election import ElectionError
from tests.support.program import Program
from zkwire import LocalProtocolError, NoNodeError, ZkwireError

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

#: A program that prints how its blocks are left.
STANDING = """
    import trio, zkwire

    async def main():
        async with trio.open_nursery() as nursery:
            try:
                print("ready", flush=True)
                await trio.sleep_forever()
            finally:
                print("leaves", flush=True)
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.2)
                print("left in order", flush=True)

    zkwire.run(main)
    print("not reached")
"""


Job = Callable[..., Program]


@pytest.fixture
def job(started: Callable[..., Program], tmp_path: Path) -> Job:
    """Starts a program from a file of its own."""

    def start(code: str, *launcher: str, **options: object) -> Program:
        path = tmp_path / "job.py"
        path.write_text(textwrap.dedent(code), encoding="utf-8")
        return started([*launcher, sys.executable, str(path)], apart=True, **options)

    return start


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_cancels_main_and_the_program_ends_with_a_line(job: Job, name: str) -> None:
    script = job(STANDING)
    assert script.next() == "ready"
    script.send(signal.Signals[name])
    assert script.result() == (0, "leaves\nleft in order\n", f"job: stopped by {name}\n")


def test_second_ctrl_c_ends_the_process_at_once(job: Job) -> None:
    script = job(STANDING.replace("sleep(0.2)", "sleep_forever()"))
    assert script.next() == "ready"
    script.send(signal.SIGINT)
    assert script.next() == "leaves"
    script.send(signal.SIGINT)
    assert script.result() == (-signal.SIGINT, "", "")


def test_second_sigterm_leaves_main_the_time_to_end(job: Job) -> None:
    """As GNU timeout sends it: to the program, and right after that to its process group."""
    script = job(STANDING)
    assert script.next() == "ready"
    for _ in range(5):
        script.send(signal.SIGTERM)
    assert script.result() == (0, "leaves\nleft in order\n", "job: stopped by SIGTERM\n")


def test_signal_that_was_ignored_from_the_start_stays_ignored(job: Job) -> None:
    script = job(STANDING, "sh", "-c", 'trap \'\' INT; exec "$0" "$@"')
    assert script.next() == "ready"
    script.send(signal.SIGINT)
    script.send(signal.SIGTERM)
    assert script.result() == (0, "leaves\nleft in order\n", "job: stopped by SIGTERM\n")


def test_error_is_one_line_and_the_status_is_1(job: Job) -> None:
    code = """
        import zkwire

        async def main():
            async with zkwire.connect("127.0.0.1:1", connect_timeout=0.1):
                pass

        zkwire.run(main)
    """
    status, stdout, stderr = job(code).result()
    assert (status, stdout) == (1, "")
    assert stderr.startswith("job: no session within 0.1 s (127.0.0.1:1: ")
    assert stderr.count("\n") == 1


def test_output_that_nobody_reads_any_more_is_one_line(job: Job) -> None:
    code = """
        import trio, zkwire

        async def main():
            while True:
                print("more", flush=True)
                await trio.sleep(0.01)

        zkwire.run(main)
    """
    read, write = os.pipe()
    script = job(code, stdout=write)
    os.close(write)
    with open(read) as shown:
        assert shown.readline() == "more\n"
    assert script.ends() == 1
    assert script.err.text == "job: [Errno 32] Broken pipe\n"


async def raises(error: BaseException) -> None:
    raise error


async def raises_in_a_task(*errors: BaseException) -> None:
    async with trio.open_nursery() as outer:
        outer.start_soon(trio.sleep_forever)
        async with trio.open_nursery() as nursery:
            for error in errors:
                nursery.start_soon(raises, error)


@pytest.fixture
def named_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's name; a worker of pytest-xdist has none."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/job.py"])


@pytest.mark.usefixtures("named_job")
@pytest.mark.parametrize("error", [NoNodeError("/a"), ElectionError("no"), LocalProtocolError("no"), OSError(98, "no")])
def test_expected_error_is_told_alone_or_out_of_a_group(error: Exception) -> None:
    for main in (raises, raises_in_a_task):
        with pytest.raises(SystemExit) as caught:
            zkwire.run(main, error)
        assert caught.value.code == f"job: {error}"


@pytest.mark.usefixtures("named_job")
def test_error_without_a_text_is_told_by_its_class() -> None:
    with pytest.raises(SystemExit, match=r"^job: ConnectionResetError$"):
        zkwire.run(raises, ConnectionResetError())


def test_any_other_exception_passes_through() -> None:
    with pytest.raises(KeyError):
        zkwire.run(raises, KeyError("bug"))
    with pytest.raises(ExceptionGroup) as caught:
        zkwire.run(raises_in_a_task, KeyError("bug"), NoNodeError("/a"))
    assert caught.group_contains(KeyError)


def test_result_of_main_is_returned_and_the_handlers_are_as_before() -> None:
    async def main(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number + 1

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert zkwire.run(main, 1) == 2
    with pytest.raises(KeyError):
        zkwire.run(raises, KeyError())
    assert [signal.getsignal(number) for number in numbers] == before


def test_errors_of_elections_are_errors_of_zkwire() -> None:
    """So that `except ZkwireError` is enough for a program that elects."""
    assert issubclass(ElectionError, ZkwireError)
