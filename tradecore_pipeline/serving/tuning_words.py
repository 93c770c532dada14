"""What a tuning report says in words, the same on the page and in the terminal."""

from tradecore_pipeline.features.tuned import PARAMETER_RANGES
from tradecore_pipeline.serving.tuning_months import DRAWN, Gain, TunedMonth, TuningReport
from tradecore_pipeline.tuning.objective import UNITS

TOLD = 2.0
"""HAC standard errors that a mean must exceed to be called different from none."""
_NO_FIGURE = "-"

MONTH_COLUMNS = (
    "month", "bars", "folds: default", "folds: tuned", "month: HAR alone", "month: default", "month: tuned", "gain",
    "HAC t", "lengths moved",
)  # fmt: skip
OBJECTIVE_COLUMNS = ("objective", "skill in the months", "HAC t", "rank correlation", "gain of the best drawn", "HAC t")


def month_cells(month: TunedMonth) -> tuple[str, ...]:
    """A month as a row under ``MONTH_COLUMNS``."""
    moved = ", ".join(
        f"{name.removesuffix('_length')} {before} to {after}" for name, (before, after) in month.moved.items()
    )
    return (
        f"{month.month:%Y-%m}",
        f"{month.bars:,}",
        f"{month.inner_default:.4f}",
        f"{month.inner_tuned:.4f}",
        f"{month.test_har:.4f}",
        f"{month.test_default:.4f}",
        f"{month.test_tuned:.4f}",
        f"{month.gain.mean:+.4f}",
        t_text(month.gain),
        moved or "none",
    )


def brief_month_cells(month: TunedMonth) -> tuple[str, ...]:
    """The same for a terminal, where a line has no room for every length: how many moved."""
    return (*month_cells(month)[:-1], f"{len(month.moved)} of {len(PARAMETER_RANGES)}")


def total_cells(report: TuningReport) -> tuple[str, ...]:
    """All months together, under the same columns: means over bars."""
    bars = [month.bars for month in report.months]
    count = sum(bars)

    def mean(name: str) -> str:
        values = [float(getattr(month, name)) for month in report.months]
        return f"{sum(value * size for value, size in zip(values, bars, strict=True)) / count:.4f}"

    return (
        "all",
        f"{count:,}",
        mean("inner_default"),
        mean("inner_tuned"),
        mean("test_har"),
        mean("test_default"),
        mean("test_tuned"),
        f"{report.gain.mean:+.4f}",
        t_text(report.gain),
        "",
    )


def objective_rows(report: TuningReport) -> list[tuple[str, ...]]:
    """Each objective as a row under ``OBJECTIVE_COLUMNS``."""
    return [
        (
            name,
            f"{facts.skill.mean:+.4f}",
            t_text(facts.skill),
            _NO_FIGURE if facts.rank_correlation is None else f"{facts.rank_correlation:+.2f}",
            f"{facts.drawn_gain.mean:+.4f}",
            t_text(facts.drawn_gain),
        )
        for name, facts in report.objectives.items()
    ]


def t_text(gain: Gain) -> str:
    """The t as text; a dash where there is none."""
    return _NO_FIGURE if gain.t_statistic is None else f"{gain.t_statistic:+.1f}"


def verdicts(report: TuningReport) -> list[str]:
    """What the months show, a sentence each, claiming no more than they do."""
    return [
        (
            f"Tuned lengths {_verdict(report.gain)} the defaults out-of-sample: {report.gain.mean:+.4f} "
            f"({UNITS[report.asked.objective]}; HAC t {t_text(report.gain)})."
        ),
        (
            f"The indicators at their defaults {_verdict(report.indicator_gain)} HAR terms alone: "
            f"{report.indicator_gain.mean:+.4f} (HAC t {t_text(report.indicator_gain)})."
        ),
    ]


def explanations() -> list[str]:
    """What the figures mean."""
    return [
        (
            "Errors are means per bar, smaller is better, of a ridge on HAR terms and indicators: on the folds inside "
            "the training window that the study looked at, and in the month after it, which no trial saw. Gain: "
            "default less tuned."
        ),
        (
            "Skill: what HAR terms and default lengths take off the error of always saying the window's mean; without "
            f"skill there is nothing to tune for. Rank correlation: of {DRAWN} evenly drawn choices, error on the "
            "folds with error in the month, mean over months; near zero, the best on the folds is best by chance. "
            "Objectives have different units."
        ),
    ]


def _verdict(gain: Gain) -> str:
    if gain.t_statistic is None or abs(gain.t_statistic) < TOLD:
        return "cannot be told from"
    return "beat" if gain.mean > 0 else "lose to"
