"""Run one scenario with one peer in this process, and print what it measured as JSON.

python -m benchmarks.peer NAME SCENARIO REPETITIONS
python -m benchmarks.peer NAME idle SECONDS         one session of that timeout, until killed; prints "idle"
"""

from __future__ import annotations

import os
import sys

from benchmarks.meter import Meter, report
from benchmarks.peers import load
from benchmarks.scenarios import SCENARIOS


def main() -> None:
    name, scenario, number = sys.argv[1:]
    peer = load(name)(os.environ["ZKWIRE_HOSTS"])
    if scenario == "idle":
        peer.idle(float(number))
    else:
        meter = Meter(int(number), SCENARIOS[scenario].batch)
        peer.run(scenario, meter)
        report(meter.result())


if __name__ == "__main__":
    main()
