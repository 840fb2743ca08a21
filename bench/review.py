"""The document review of the examples: are planted faults found, and for the right reason, by the default model?

The documents are in `bench/review/`; a name says what is missing, as in `bus.no-work.no-risk.md`. `new` is those that
were written, and played once, when prompts and tools were finished; the others had a part in finding them.

    python bench/review.py [--json] [--model default] [--only new]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from common import Report, run, say

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from document_review import play

FOLDER = Path(__file__).with_name("review")
FAULTS = {
    "no-cost": "how much it costs", "no-work": "who does what until which day", "no-risk": "what may go wrong",
}  # fmt: skip
NEW = ("bees", "heating", "lift", "newsletter", "path", "run", "stage", "tower")


def measure(report: Report, options: argparse.Namespace) -> None:
    """Review them and compare."""
    began = time.monotonic()
    known = [each for each in sorted(FOLDER.glob("*.md")) if not _new(each)]
    new = [each for each in sorted(FOLDER.glob("*.md")) if _new(each)]
    chosen = {"new": [*new], "known": [*known], "": [*new, *known]}[options.only]
    found = dict(zip(chosen, play(chosen, options.model), strict=True))
    for case, documents in (("new", new), ("known", known)):
        if of := [each for each in documents if each in found]:
            _compare(report, f"{case}, {len(of)} documents", {each: set(found[each]["missing"]) for each in of})
    report.add("all", "time a document", (time.monotonic() - began) / len(found), "s")


def _new(document: Path) -> bool:
    return document.name.partition(".")[0] in NEW


def _compare(report: Report, case: str, missing: dict[Path, set[str]]) -> None:
    """How many verdicts are right, and for exactly the reasons that were planted."""
    verdicts = reasons = planted = unseen = invented = 0
    for document, told in missing.items():
        meant = {FAULTS[each] for each in document.stem.split(".")[1:]}
        verdicts, reasons = verdicts + (bool(told) == bool(meant)), reasons + (told == meant)
        planted, unseen, invented = planted + len(meant), unseen + len(meant - told), invented + len(told - meant)
        if told != meant:
            say(f"{document.name}: missing are {sorted(meant)}, and told is {sorted(told)}")
    report.add(case, "right verdicts", verdicts / len(missing), "", at_least=0.9)
    report.add(case, "right for the right reasons", reasons / len(missing), "", at_least=0.75)
    report.add(case, f"faults not found, of {planted}", unseen, "")
    report.add(case, "faults told that there are not", invented, "")


if __name__ == "__main__":
    run("review", __doc__, measure, model=(str, "default", "the model"), only=(str, "", "`new` or `known` documents"))
