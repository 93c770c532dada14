"""Which of a user's files a strategy is made of."""

import hashlib
from pathlib import Path

from tradecore_pipeline.serving.own_mixins import own_mixins
from tradecore_pipeline.strategies.reading import variant
from tradecore_pipeline.strategies.schema import Logic, StrategyConfig

OWN = (
    "from tradecore_pipeline.strategies.exits.fixed_ratio import FixedRatioExitMixin\n\n\n"
    'class {}(FixedRatioExitMixin):\n    """Own."""\n'
)


def left_by(name: str) -> StrategyConfig:
    return variant("simple").model_copy(update={"exit_logic": Logic(name=name, params={})})


def test_a_strategy_is_made_of_the_files_whose_mixins_it_names_and_of_no_others(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(OWN.format("One"))
    other.write_text(OWN.format("Other"))
    mixins = own_mixins([one, other])
    assert mixins.used(left_by("One")) == {"One": hashlib.sha256(one.read_bytes()).hexdigest()}
    assert mixins.used(left_by("Other")) == {"Other": hashlib.sha256(other.read_bytes()).hexdigest()}
    assert mixins.used(variant("simple")) == {}


def test_a_file_that_moved_is_the_same_and_a_rewritten_one_is_not(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        return own_mixins([path]).used(left_by("Mine"))["Mine"]

    # Nothing but a class of ours by another name: there is no function of it to look into.
    text = OWN.format("Mine")
    assert digest("a.py", text) == digest("b.py", text)
    assert digest("a.py", text) != digest("a.py", text + "    note: str = ''\n")
