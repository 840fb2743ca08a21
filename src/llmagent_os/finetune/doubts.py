"""Labels that the other rows speak against: what may be wrong in rows that people have labelled. Needs numpy."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from .linear import fit
from .rows import Row

FOLDS = 5
STRENGTH = 10.0  # inverse, of the regularisation


def doubtful(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Rows whose label is doubtful, with the label that the others tell, the surest first.

    Confident learning (Northcutt et al. 2021): each row is labelled by a linear model that has not seen it; it is
    doubtful where another label is likelier than its own, and as likely as it is on average for rows that bear it.
    """
    order, odds = list(range(len(rows))), list[dict[str, float]]([{}] * len(rows))
    random.Random(0).shuffle(order)
    for fold in range(FOLDS):
        train = [rows[place] for n, place in enumerate(order) if n % FOLDS != fold]
        model = fit(train, (), (STRENGTH,))
        for place in order[fold::FOLDS]:
            odds[place] = model.probabilities(rows[place].text)
    sure: defaultdict[str, list[float]] = defaultdict(list)
    for row, each in zip(rows, odds, strict=True):
        sure[row.output].append(each.get(row.output, 0.0))
    usual = {label: fmean(values) for label, values in sure.items()}
    found = []
    for row, each in zip(rows, odds, strict=True):
        likely = max(each, key=each.__getitem__)
        if likely != row.output and each[likely] >= usual[likely]:
            found.append((each.get(row.output, 0.0) - each[likely], row, likely))
    return [(row, likely) for _, row, likely in sorted(found, key=lambda one: one[0])]
