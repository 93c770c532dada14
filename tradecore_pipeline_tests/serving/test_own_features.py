"""Which files of own features are run for which settings."""

from pathlib import Path

import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.serving.own_features import configured_features, examined_features
from tradecore_pipeline.settings import Settings


def written(path: Path, name: str) -> Path:
    path.write_text(
        "from tradecore_pipeline.features.own import feature\n"
        f"@feature(warm_up_bars=0, unit='x', meaning='y')\ndef {name}(market):\n    return market.bars['close']\n"
    )
    return path


def test_the_detector_examines_the_settings_files_and_those_it_is_given_each_once(tmp_path: Path) -> None:
    mine, other = written(tmp_path / "mine.py", "mine"), written(tmp_path / "other.py", "other")
    settings = Settings.load(home=tmp_path, feature_files=(mine,))
    assert configured_features(settings).names == ("mine",)
    assert examined_features(settings, [tmp_path / "." / "mine.py", other]).names == ("mine", "other")
    assert configured_features(Settings.load(home=tmp_path)).names == ()


@pytest.mark.parametrize("name", ["scaled_return", "state_0", "seasonal_next", "relative_variance_1", "definition"])
def test_what_models_compute_themselves_is_no_name_for_an_own_feature(tmp_path: Path, name: str) -> None:
    settings = Settings.load(home=tmp_path, feature_files=(written(tmp_path / "mine.py", name),))
    with pytest.raises(UsageError, match=f"{name} is a name of the pipeline's own"):
        configured_features(settings)


def test_models_are_told_of_features_that_no_file_holds(tmp_path: Path) -> None:
    files = (written(tmp_path / "mine.py", "mine"),)
    good = {"home": tmp_path, "feature_files": files, "hmm_emission": "gaussian"}
    assert configured_features(Settings.load(**good, hmm_features=("scaled_return", "mine"))).names == ("mine",)
    with pytest.raises(UsageError, match=r"setting hmm_features: unknown feature 'mines': did you mean mine\?"):
        configured_features(Settings.load(**good, hmm_features=("scaled_return", "mines")))
