"""Kill a system with flows again and again, and count what was lost, done twice, asked twice or not started.

Two graphs of 100 nodes, one of which undoes all that it did, the flows of the examples (support desk, document review,
research with an agent that is ended on purpose), and three triggers that start a flow each second, by each rule for
missed times. What runs, and what it is compared with, is in `tests/stand_ins/flow_victim.py` and `flow_killer.py`.

    python bench/kill9_flows.py [--json] [--kills 200] [--seed 1]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from common import Report, folder, run, say

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.stand_ins.flow_killer import kill_often

TOLD = 10  # kills between two lines of progress


def measure(report: Report, options: argparse.Namespace) -> None:
    """Kill, then compare."""
    began = time.monotonic()

    def told(kills: int) -> None:
        if kills % TOLD == 0:
            say(f"{kills} kills, {time.monotonic() - began:.0f} s")

    with folder() as path:
        found = kill_often(path, options.kills, options.seed, told=told)
    case = f"{options.kills} kills, {found.much['rounds']} rounds"
    for metric, wrong in (
        ("effects lost", found.lost), ("effects made twice", found.twice), ("work done again", found.repeated),
        ("undone too early", found.early), ("wrong answers", found.answers), ("runs that asked not once", found.asked),
        ("due times not kept", found.times),
    ):  # fmt: skip
        report.add(case, metric, len(wrong), "", at_most=0)
        for each in wrong[:3]:
            say(each)
    for what, count in found.much.items():
        report.add(case, what, count, "")


if __name__ == "__main__":
    run(
        "kill9_flows", __doc__, measure,
        kills=(int, 200, "how often the system is killed"), seed=(int, 1, "of the random moments"),
    )  # fmt: skip
