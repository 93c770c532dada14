from dataclasses import replace

from tradecore_pipeline.defs.tuning import study_metadata
from tradecore_pipeline.features.tuned import DEFAULT_PARAMETERS
from tradecore_pipeline.tuning.plan import TuningResult

RESULT = TuningResult(
    parameters=replace(DEFAULT_PARAMETERS, rsi_length=9),
    objective="log_score",
    value=-0.5,
    default_value=-0.4,
    gain_t=1.234,
    trials=30,
    best_trial=3,
    trial_values=(-0.4, -0.3, -0.2, -0.5),
    importances={"rsi_length": 0.75, "obv_length": 0.25},
    study_name="test",
)


def test_a_partition_shows_what_was_chosen_and_what_mattered_most_first() -> None:
    shown = study_metadata(RESULT)
    lines = str(shown["lengths"].value).splitlines()
    assert lines[0] == "| length | default | chosen | importance |"
    assert lines[2:4] == ["| rsi_length | 14 | 9 | 75% |", "| obv_length | 20 | 20 | 25% |"]
    assert len(lines) == 2 + len(DEFAULT_PARAMETERS.to_dict())
    assert (shown["objective"], shown["gain_percent"], shown["gain_t"]) == ("log_score", 25.0, 1.23)


def test_a_study_that_kept_the_defaults_says_so() -> None:
    kept = replace(RESULT, parameters=DEFAULT_PARAMETERS, value=-0.4, gain_t=None, importances={})
    shown = study_metadata(kept)
    assert (shown["gain_percent"], shown["gain_t"]) == (0.0, "none")
    assert str(shown["lengths"].value).splitlines()[2] == "| rsi_length | 14 | 14 | - |"
