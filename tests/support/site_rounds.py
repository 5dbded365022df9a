"""Rounds in which sites say all that they may say of the model."""

from __future__ import annotations

from fedcrucible_core.records.schema import ASR_REFUSED, RoundRecord

CAUSE = "accuracy-percent is 400.0"


def site_rounds() -> list[RoundRecord]:
    """Four sites: 0 always measures, 1 refuses ASR and lies once, 2 comes late, 3 never answers and is excluded."""

    def said(ma: float, asr: float | None = None, examples: float = 20.0) -> dict[str, float]:
        return {"examples": examples, "ma_percent": ma, **({ASR_REFUSED: 1.0} if asr is None else {"asr_percent": asr})}

    facts = {"clients.ma_mean_percent": 68.0, "clients.ma_spread_percent": 18.8, "clients.ma_worst_percent": 44.0}
    return [
        RoundRecord(round=0),
        RoundRecord(
            round=1, client_metrics={"0": said(50.0, 10.0), "1": said(40.0)}, evaluations_absent=(2, 3),
            facts={**facts, "clients.measured": 2.0},
        ),
        RoundRecord(
            round=2, client_metrics={"0": said(60.0, 20.0)}, evaluations_dropped={"1": CAUSE},
            facts={**facts, "clients.measured": 1.0, "clients.dropped": 1.0},
        ),
        RoundRecord(round=3),
        RoundRecord(
            round=4, client_metrics={"0": said(70.0, 30.0), "1": said(44.0), "2": said(90.0, 0.0, 9.0)},
            excluded=(3,), facts={**facts, "clients.measured": 3.0},
        ),
    ]  # fmt: skip
