"""A user's own file of mixins: the one that the documentation shows, and those that cannot be used."""

import re
from pathlib import Path

import numpy as np
import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.strategies.decision import Strategy
from tradecore_pipeline.strategies.own import load_mixins
from tradecore_pipeline.strategies.reasons import Reason
from tradecore_pipeline.strategies.registry import Registry
from tradecore_pipeline.strategies.schema import Logic
from tradecore_pipeline_tests.strategies.mixin_cases import CONFIG, random_market

PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"
HEAD = "from tradecore_pipeline.strategies.schema import Section\n"
EXIT = """class Mine({}):
    @property
    def warm_up_bars(self):
        return 0
    def exits(self, market, config, side):
        ...
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as error:
        load_mixins([written(folder, text)], Registry())
    assert "\n" not in str(error.value)
    assert "mine.py" in str(error.value)
    return str(error.value)


def test_the_documented_mixins_work(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(# my_mixins\.py\n.*?)```", PAGE.read_text(), flags=re.DOTALL)
    registry = load_mixins([written(tmp_path, example)], Registry())
    update = {
        "entry_logic": Logic(name="BreakoutEntryMixin", params={"bars": 30}),
        "exit_logic": Logic(name="OppositeBreakoutExitMixin"),
    }
    strategy = Strategy.of(CONFIG.model_copy(update=update), registry)
    assert strategy.warm_up_bars == 30
    market = random_market(3, 400)
    plan, close = strategy.plan(market), market.column("close")
    for t in range(100, 400):
        before = close[t - 30 : t]
        assert plan.side[t] == (close[t] > before.max()) - int(close[t] < before.min())
        assert plan.exits.exit_long[t] == (Reason.INDICATOR if close[t] < close[t - 10 : t].min() else 0)
    assert {-1, 1} <= set(plan.side)
    part = strategy.plan(market.rows(0, 300))
    assert np.array_equal(part.side, plan.side[:300])
    with pytest.raises(UsageError, match="did you mean bars"):
        Strategy.of(
            CONFIG.model_copy(update={"entry_logic": Logic(name="BreakoutEntryMixin", params={"bar": 3})}), registry
        )


def test_a_file_adds_to_the_registry_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    ours = Registry()
    theirs = load_mixins([written(tmp_path, HEAD + EXIT.format("Section"))], ours)
    assert set(theirs.exits) == {*ours.exits, "Mine"}
    assert theirs.entries == ours.entries
    assert "Mine" not in ours.exits


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no mixins"),
        ("x = 1 +\n", "cannot be run: SyntaxError (invalid syntax) in line 1"),
        ("\n1 / 0\n", "cannot be run: ZeroDivisionError (division by zero) in line 2"),
        (EXIT.format("object"), "Mine: a mixin is a subclass of"),
        (HEAD + EXIT.format("Section").replace("Mine", "ATRExitMixin"), "there is already a mixin ATRExitMixin"),
        (HEAD + EXIT.format("Section").replace("@property\n    ", ""), "give it a property `warm_up_bars`"),
        (HEAD + EXIT.format("Section") + "    bars: int\n", "Mine: bars has no default"),
        (HEAD + EXIT.format("Section") + "    def signals(self): ...\n", "either `signals` or `exits`"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in complaint(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.py cannot be read .*No such file"):
        load_mixins([tmp_path / "none.py"], Registry())


def test_a_file_that_gives_up_while_it_runs_is_one_line(tmp_path: Path) -> None:
    assert "cannot be run" in complaint(tmp_path, "raise GeneratorExit\n")


def test_a_file_may_hold_dataclasses_of_its_own(tmp_path: Path) -> None:
    text = "import dataclasses\n" + HEAD + "@dataclasses.dataclass\nclass Own:\n    x: 'int'\n" + EXIT.format("Section")
    assert "Mine" in load_mixins([written(tmp_path, text)], Registry()).exits


ASKED = """class Asked(Section):
    @property
    def warm_up_bars(self):
        return 0
    def {}(self, market, config{}):
        {}
"""
NEEDED = (
    HEAD
    + "import dataclasses\nimport numpy as np\nfrom tradecore_pipeline.strategies.contracts import Exits, Signals\n"
    + "def signals_of(side, strength):\n    return Signals(np.array(side), np.array(strength))\n"
)


def planned(folder: Path, kind: str, body: str) -> None:
    text = NEEDED + ASKED.format("signals" if kind == "entry" else "exits", "" if kind == "entry" else ", side", body)
    registry = load_mixins([written(folder, text)], Registry())
    config = CONFIG.model_copy(update={f"{kind}_logic": Logic(name="Asked")})
    Strategy.of(config, registry).plan(random_market(3, 50))


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("entry", "raise ValueError('no such luck')", r"failed: ValueError \(no such luck\) in line \d+"),
        ("entry", "raise SystemExit(3)", r"failed: SystemExit \(3\)"),
        ("entry", "return None", "returned None: return Signals"),
        ("entry", "return signals_of([1] * 3, [1.0] * 3)", "returned 3 as side: return 50"),
        ("entry", "return Signals([1] * 50, np.ones(50))", "returned a list as side: return a numpy array"),
        ("entry", "return signals_of([7] * 50, [1.0] * 50)", "a side in row 0 of 50 that cannot be: it is 1, 0 or -1"),
        ("entry", "return signals_of([0] * 9 + [1] * 41, [np.nan] * 50)", "a strength in row 9 of 50"),
        ("entry", "return Signals(np.ones(50), np.ones(50), size=np.full(50, -1.0))", "a size in row 0"),
        ("exit", "return 5", "returned a int: return Exits"),
        ("exit", "return Exits.none(7)", "returned 7 as stop: return 50"),
        ("exit", "return dataclasses.replace(Exits.none(50), stop=np.zeros(50))", "a stop in row 0 of 50"),
        ("exit", "return dataclasses.replace(Exits.none(50), exit_long=np.full(50, 2))", "a Reason from REGIME_CHANGE"),
        ("exit", "return dataclasses.replace(Exits.none(50), breakeven_offset=np.full(50, np.nan))", "is a number"),
    ],
)
def test_what_a_mixin_does_wrong_is_one_line(tmp_path: Path, kind: str, body: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        planned(tmp_path, kind, body)
    assert "\n" not in str(error.value)
    assert "mine.py: Asked" in str(error.value)


def test_a_mixin_cannot_change_what_others_read(tmp_path: Path) -> None:
    body = "market.bars['close'] = 1.0; market.held[:] = 0; return signals_of([0] * 50, [0.0] * 50)"
    text = NEEDED + ASKED.format("signals", "", body)
    registry = load_mixins([written(tmp_path, text)], Registry())
    market, same = random_market(3, 50), random_market(3, 50)
    Strategy.of(CONFIG.model_copy(update={"entry_logic": Logic(name="Asked")}), registry).plan(market)
    assert market.bars.equals(same.bars)
    assert np.array_equal(market.held, same.held)
