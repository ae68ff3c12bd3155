"""What zkwire's speed should be (DESIGN section 5), and whether it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.footprint import Idle, Imported
from benchmarks.meter import Rounds

#: by scenario, then by client
Results = Mapping[str, Mapping[str, Rounds]]


class Target(NamedTuple):
    text: str
    limit: float
    figure: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'met    ' if self.met else 'NOT MET'}  {self.text}: {self.figure:.2f}, target {sign} {self.limit:g}"


#: scenario, our row, measure, peer's row, limit of the ratio
_RATIOS = [
    ("get_data-serial", "zkwire", "cpu", "kazoo", 0.40),
    ("get_data-serial", "zkwire", "cpu", "C client", 1.0),
    ("get_data-serial", "zkwire", "median", "bare socket", 1.2),
    *(
        (scenario, ours, "cpu", peer, limit)
        for scenario in ("get_data-500", "set_data-500")
        for ours in ("zkwire", "zkwire in order")
        for peer, limit in (("kazoo", 0.28), ("C client", 0.6), ("go-zookeeper", 1.0))
    ),
]


def of_scenarios(results: Results) -> list[Target]:
    """The targets for which both figures were measured."""
    return [
        Target(f"{scenario}: {measure} of {ours} / {peer}", limit, rows[ours].ratio(measure, rows[peer]))
        for scenario, ours, measure, peer, limit in _RATIOS
        if (rows := results.get(scenario)) and ours in rows and peer in rows
    ]


def of_decode(microseconds: Mapping[str, float]) -> list[Target]:
    ratio = microseconds["construct"] / microseconds["fused"]
    return [Target("decode of GetDataResponse: construct / fused", 10, ratio, at_least=True)]


def of_commands(milliseconds: Mapping[str, float]) -> list[Target]:
    ratio = milliseconds["zkwire ls /"] / milliseconds["python -c 'import trio, construct'"]
    return [Target("a cold `zkwire ls /` / python -c 'import trio, construct'", 2, ratio)]


def of_tap(microseconds: float) -> list[Target]:
    return [Target("what zkwire tap adds to the median latency, us", 150, microseconds)]


def of_footprint(imports: Mapping[str, Imported], sessions: Mapping[str, Idle]) -> list[Target]:
    core, session = imports["zkwire's core"], sessions["zkwire"]
    return [
        Target("import of the core, ms of CPU", 30, core.milliseconds),
        Target("resident memory with the core, MB", 20, core.megabytes),
        Target("threads of an idle session, beside the main one", 0, session.threads - 1),
        Target("wake-ups of an idle session per ping interval", 2, session.wakeups),
    ]
