"""Run one scenario with one peer in this process, and print what it measured as JSON.

python -m benchmarks.peer NAME SCENARIO REPETITIONS
python -m benchmarks.peer NAME idle SECONDS                 one session of that timeout, until killed; prints "idle"
python -m benchmarks.peer NAME failovers CANDIDATES ROUNDS  see elections.py
python -m benchmarks.peer NAME registry MEMBERS CHURN       see elections.py
"""

from __future__ import annotations

import json
import os
import sys

from benchmarks.meter import Meter, report
from benchmarks.peers import load
from benchmarks.scenarios import SCENARIOS


def main() -> None:
    name, scenario, *numbers = sys.argv[1:]
    peer = load(name)(os.environ["ZKWIRE_HOSTS"])
    if scenario == "idle":
        peer.idle(float(numbers[0]))
    elif scenario in ("failovers", "registry"):
        print(json.dumps(getattr(peer, scenario)(*map(int, numbers))), flush=True)
        os._exit(0)  # kazoo's other candidates still wait to lead
    else:
        meter = Meter(int(numbers[0]), SCENARIOS[scenario].batch)
        peer.run(scenario, meter)
        report(meter.result())


if __name__ == "__main__":
    main()
