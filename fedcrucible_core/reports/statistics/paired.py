"""Paired tests over seeds: the same seed gives both systems the same data, attackers and initial model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedcrucible_core.reports.statistics.spread import Spread, spread

EXACT_UP_TO = 12
"""So many pairs have few enough sign patterns to try them all."""
SAME = 1e-9
"""Differences this close are the same but for rounding."""
RANK_DIGITS = 7
"""Decimals of a difference in points that count for its rank."""
FEW_PAIRS = 6
"""Below this Wilcoxon's two-sided test can't reach 5 %."""


@dataclass(frozen=True)
class Paired:
    """Differences of two systems on the same seeds."""

    pairs: int
    difference: Spread
    """Of ours minus theirs, in points."""
    t_p: float | None
    """p of the two-sided paired t test; None for fewer than two pairs or differences that are all the same."""
    wilcoxon_p: float | None
    """p of the two-sided signed-rank test; None where all differences are zero.

    Exact for up to 12 differences that aren't zero, approximate (normal) for more with ties.
    """

    @property
    def smallest_wilcoxon_p(self) -> float:
        """The least p that so few pairs can give: both of 2^pairs sign patterns that are most extreme."""
        return min(1.0, 2.0 / 2.0**self.pairs)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Paired | None:
    """Compare two systems over the seeds they have in common; None where they have none."""
    seeds = sorted(set(ours) & set(theirs))
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    found = spread(differences)
    if found is None:
        return None
    return Paired(len(seeds), found, _t_test(differences), _signed_rank_test(differences))


def _t_test(differences: list[float]) -> float | None:
    if len(differences) < 2 or max(differences) - min(differences) < SAME:
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0.0).pvalue)


def _signed_rank_test(differences: list[float]) -> float | None:
    """Zeros are left out, as Wilcoxon does; ties get mean ranks, and all sign patterns are tried where they are few.

    Rates of some thousand images are multiples of 0.01: ties are common, and rounding errors must not rank them.
    """
    kept = [rounded for value in differences if (rounded := round(value, RANK_DIGITS)) != 0.0]
    if not kept:
        return None
    if len(kept) == 1:  # both signs are as extreme as it gets
        return 1.0
    from scipy.stats import PermutationMethod, wilcoxon

    method = PermutationMethod(n_resamples=2**EXACT_UP_TO) if len(kept) <= EXACT_UP_TO else "auto"
    return float(wilcoxon(kept, method=method).pvalue)
