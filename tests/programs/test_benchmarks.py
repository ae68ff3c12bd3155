"""The benchmarks run, and have a row for every client that is installed. What they measure is not asserted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from kazoo.client import KazooClient

from benchmarks.scenarios import ROOT
from tests.conftest import External
from tests.support.real.servers import Server

_REPOSITORY = Path(__file__).resolve().parents[2]


def _benchmarks(zookeeper: Server | External, *arguments: str) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=_REPOSITORY,
        env={**os.environ, "ZKWIRE_HOSTS": zookeeper.address},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def _rows(table: str) -> list[str]:
    """The first cells of all rows with figures."""
    return re.findall(r"^\| (\S.*?) +\| +[\d,]+\.\d", table, re.MULTILINE)


def test_benchmarks_print_a_row_for_each_client_that_is_installed(zookeeper: Server | External) -> None:
    output = _benchmarks(zookeeper, "--quick", "--only", "get_data-serial")

    installed = {"zkwire", "kazoo", "bare socket"} | ({"aiozk"} if find_spec("aiozk") else set())
    missing = set(re.findall(r"^without (.*?):", output, re.MULTILINE))
    rows = _rows(output)
    assert len(rows) == len(set(rows))
    assert installed <= set(rows)
    assert set(rows) | missing == installed | {"aiozk", "C client", "go-zookeeper"}
    assert not set(rows) & missing


def test_benchmarks_compare_zkwire_with_the_targets_of_a_scenario(zookeeper: Server | External) -> None:
    output = _benchmarks(zookeeper, "--quick", "--only", "get_data-serial")

    assert re.search(r"^(met|NOT MET) +get_data-serial: cpu of zkwire / kazoo: \d+\.\d+, target <= 0\.4$", output, re.M)


def test_benchmarks_measure_what_a_tap_adds(zookeeper: Server | External) -> None:
    output = _benchmarks(zookeeper, "--quick", "--only", "tap")

    taps = ["tap", "tap --json", "tap --hex", "tap --fault"]
    rows = re.findall(r"^\| (\S.*?) +\| +[\d,]+ \|", output, re.MULTILINE)
    assert rows == ["straight", "a relay that reads nothing", *taps]
    assert re.search(
        r"^(met|NOT MET) +what zkwire tap adds to the median latency, us: -?[\d.]+, target <= 150$", output, re.M
    )


def test_benchmarks_fire_the_watches_and_leave_no_znodes_behind(zookeeper: Server | External) -> None:
    output = _benchmarks(zookeeper, "--quick", "--only", "watches-1000")

    assert "zkwire" in _rows(output)
    witness = KazooClient(zookeeper.address)
    witness.start()
    try:
        assert witness.exists(ROOT) is None
    finally:
        witness.stop()
        witness.close()


def test_benchmarks_measure_what_a_client_and_a_command_cost_before_they_do_anything(
    zookeeper: Server | External,
) -> None:
    output = _benchmarks(zookeeper, "--quick", "--only", "footprint")

    for target in ("import of the core, ms of CPU", "a cold `zkwire ls /` / python -c 'import trio, construct'"):
        assert re.search(rf"^(met|NOT MET) +{re.escape(target)}: \d+\.\d+, target <= \d+$", output, re.MULTILINE)
