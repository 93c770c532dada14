"""The JSON configuration of a strategy: every key, its unit, its range and what it means."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tradecore_pipeline.strategies.keys import REGIMES, STATES, TIMEFRAMES, instruments_only, keys

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction: .05 is 5%."""
Move = Annotated[float, Field(gt=0, lt=1)]
"""A price move as a fraction of the entry price."""
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, le=10)]
Bars = Annotated[int, Field(ge=1)]
Least = Annotated[float, Field(ge=0)]
Cost = Annotated[float, Field(ge=0, lt=1)]
Moves = Annotated[dict[str, Move], keys(*REGIMES, *TIMEFRAMES, instruments=True)]
TimeframeName = Literal["5m", "15m", "30m", "1h", "4h", "1d"]
TimeframeCase = Literal["all_bullish", "mixed_bullish", "mixed_neutral", "all_bearish"]


class Section(BaseModel):
    """A part of the file: unknown keys, NaN and text where a number belongs are refused.

    What stands under a key is its meaning wherever keys are listed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Logic(Section):
    """An entry or exit mixin by name, with its parameters; `tradecore strategies` lists both."""

    name: str
    """The mixin's class."""
    params: dict[str, Any] = {}
    """Its parameters, by name."""


class TimeframeMultipliers(Section):
    """What the size is multiplied by as timeframes agree."""

    aligned: Weight = 1.0
    """From ``alignment_threshold`` of the weight in the position's direction on."""
    partial: Weight = 0.6
    """From more than half of the weight on."""
    conflicted: Weight = 0.0
    """With less: 0 opens nothing then."""


class PositionSizing(Section):
    """How large a position is, in multiples of equity (1 is unleveraged)."""

    base_position_size: Positive = 0.5
    """Size at full strength, before multipliers; an entry that sizes itself does not read it."""
    min_position_size: Least = 0.05
    """Smaller wishes are no position at all."""
    max_position_size: Positive = 1.0
    """Larger ones are cut to it."""
    use_confidence: bool = True
    """Size grows with the entry's strength from ``min_position_size`` to the base size; else it is the base size."""
    use_kelly_criterion: bool = False
    """Bound the size by ``kelly_fraction`` of mean over variance of the forecast."""
    kelly_fraction: Share = 0.25
    """Read with ``use_kelly_criterion``."""
    use_volatility_adjustment: bool = False
    """Multiply the base size by ``target_volatility`` over the annualised forecast volatility."""
    target_volatility: Positive = 0.4
    """Annualised; .4 is 40%."""
    timeframe_multipliers: TimeframeMultipliers = TimeframeMultipliers()
    """Read where ``timeframe_analysis`` names several timeframes."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_position_size <= self.base_position_size <= self.max_position_size:
            raise ValueError("min_position_size <= base_position_size <= max_position_size must hold")
        return self


class EntryCriteria(Section):
    """When a position may be opened."""

    prediction_threshold: Least = 0.005
    """Least size of the forecast mean of the next bar's log return, in ``prediction_unit``."""
    prediction_thresholds: Annotated[dict[str, Least], keys(*TIMEFRAMES, instruments=True)] = {}
    """The same by instrument or timeframe; it goes before ``prediction_threshold``."""
    prediction_unit: Literal["volatility", "log_return"] = "volatility"
    """Whether thresholds count in deviations of the forecast or in log return."""
    regime_confidence_threshold: Share = 0.6
    """Least filtered probability of the held state."""
    regime_confidence_thresholds: Annotated[dict[str, Share], keys(*TIMEFRAMES, instruments=True)] = {}
    """The same by instrument or timeframe."""
    require_trend_alignment: bool = False
    """Only in the direction of the 30-day return's sign."""
    require_direction_significant: bool = False
    """Only where the model's states differed in mean out-of-sample: on BTC that is never."""
    min_volume_ratio: Least = 0.0
    """Least volume of the bar over its mean of the last 20 bars."""
    require_portfolio_diversification: bool = False
    """Refuse entries whose return correlation with an open position exceeds ``correlation_threshold``."""
    min_prediction_consensus: Share = 0.0
    """Least weight of the timeframes, and of the ensemble's models, whose forecast has the entry's sign."""
    require_timeframe_confirmation: bool = False
    """Entries need ``min_confirmation_ratio`` of the other timeframes' weight in their direction."""
    min_confirmation_ratio: Share = 0.5
    """Read with ``require_timeframe_confirmation``."""


class RiskManagement(Section):
    """Limits of an open position and of the portfolio."""

    profit_target: Move | None = 0.02
    """Distance of the target, null for none."""
    profit_targets: Moves = {}
    """By `regime_0` ... of the bar that decides the entry, else by instrument, else by timeframe."""
    stop_loss: Move | None = 0.01
    """Distance of the stop, null for none."""
    stop_losses: Moves = {}
    """The same for stops."""
    trailing_stop: Move | None = None
    """How far a stop trails behind the best price of closed bars, null for none."""
    trailing_stops: Moves = {}
    """The same for trailing stops."""
    trailing_activation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Gain as a fraction of the entry price from which the stop trails."""
    max_holding_periods: Annotated[dict[str, Bars], keys(*REGIMES, instruments=False)] = {}
    """Most bars by `regime_0`, `regime_1` ... of the bar that decides the entry."""
    portfolio_max_drawdown: Share | None = None
    """Close everything and stop trading once equity is this far under its highest."""
    position_correlation_limit: Share = 1.0
    """Most correlation between two open positions' returns over the last 168 bars; 1 is no limit."""


class ExitCriteria(Section):
    """What closes a position at the next open, beside target, stop and trailing stop."""

    exit_on_regime_change: bool = True
    """Close at a change of the held state."""
    regime_change_confidence: Share = 0.6
    """The new state's filtered probability from which a change counts."""
    exit_on_prediction_reversal: bool = True
    """Close at an opposite forecast, whatever an entry would need beside it."""
    prediction_reversal_threshold: Least = 0.005
    """Size of an opposite forecast, in ``prediction_unit``."""
    exit_on_low_confidence: bool = False
    """Close where the held state is not probable."""
    low_confidence_threshold: Share = 0.4
    """Its filtered probability below which that is so."""


class RegimeRule(Section):
    """What is allowed in one state: `regime_0` is the calmest. A key that is a state's name is for that name."""

    name: Literal[
        "", "Strong Bear", "Bear", "Chop", "Bull", "Strong Bull",
        "Calm", "Normal", "Turbulent", "Level 1", "Level 2", "Level 3", "Level 4", "Level 5",
    ] = ""  # fmt: skip
    """For the state of this name, by mean return or by volatility, wherever it stands: it goes before the key."""
    allow_long: bool = True
    """Whether long positions may be opened."""
    allow_short: bool = True
    """Whether short ones may."""
    position_multiplier: Weight = 1.0
    """Multiplies sizes."""
    exit_speed: Literal["slow", "normal", "fast"] = "normal"
    """Multiplies stop, target, trailing and holding limits: 1.5, 1 or .5."""


class PortfolioManagement(Section):
    """Shared cash of several instruments."""

    total_capital_allocation: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Most of the equity that all positions may hold together, in multiples."""
    max_positions_per_symbol: Literal[1] = 1
    """One, always: a second signal in the same direction changes nothing."""
    max_total_positions: Bars = 3
    """Instruments held at a time."""
    correlation_threshold: Share = 1.0
    """Read with ``require_portfolio_diversification``."""
    rebalance_frequency: Bars = 24
    """Bars between resizings of open positions; refused with an entry that does not rebalance."""


class SymbolRule(Section):
    """One instrument's part in a portfolio."""

    weight: Share = 1.0
    """Multiplies sizes; where one instrument has a weight below 1, each that is traded needs its own."""
    volatility_multiplier: Positive = 1.0
    """Multiplies stop, target and trailing distances."""
    liquidity_requirement: Least = 0.0
    """Least mean quote volume of the last 20 bars."""


class TimeframeAnalysis(Section):
    """Votes of several timeframes; a higher one counts only once its bar has closed."""

    weights: dict[TimeframeName, Share] = {}
    """By timeframe, the strategy's own among them; empty for no votes. One that is not there agrees with nothing."""
    require_alignment: bool = False
    """Entries need timeframes that are aligned."""
    alignment_threshold: Share = 0.7
    """Share of the weight in one direction from which timeframes are aligned."""


class RegimeTimeframeRule(Section):
    """What the timeframes' held regimes allow together, by their names' directions."""

    allow_long: bool = True
    """Whether long positions may be opened."""
    allow_short: bool = True
    """Whether short ones may."""
    position_multiplier: Weight = 1.0
    """Multiplies sizes."""


class Ensemble(Section):
    """Averages over several models of the same bar."""

    months: Annotated[int, Field(ge=1, le=12)] = 1
    """Probabilities and forecasts are means over the models of the bar's month and of the months before it."""
    timeframes: dict[TimeframeName, Share] = {}
    """Forecast means and volatilities are averaged over timeframes, scaled to the strategy's, with these weights."""


class ModelRequirements(Section):
    """How old a model may be at the bar it is used on, in days from the start of its month."""

    max_hmm_age_days: Bars = 31
    """Of the regime model."""
    max_lstm_age_days: Bars = 31
    """Of the forecaster."""
    max_indicator_age_days: Bars = 31
    """Of the tuned indicators."""
    min_training_samples: Bars = 480
    """Least bars that a model was trained on."""


class Backtesting(Section):
    """Costs and rules of the simulation."""

    initial_capital: Positive = 100_000.0
    """In the quote currency."""
    commission: Cost = 0.0005
    """Of the traded value, where a fill takes liquidity."""
    maker_commission: Cost | None = None
    """Where it gives liquidity (targets); the same as ``commission`` unless said."""
    slippage: Cost = 0.0002
    """Of the price, against every fill that takes liquidity."""
    warmup: Annotated[int, Field(ge=0)] = 100
    """Bars at the beginning on which nothing is traded."""
    leverage: Annotated[float, Field(ge=1, le=125)] = 1.0
    """Most position value over equity; margin is isolated."""
    maintenance_margin: Share = 0.005
    """Of the position's value, below which it is liquidated; less than 1 / ``leverage``."""
    lot_size: Least = 0.0
    """Sizes are whole multiples of it, in coins; 0 for any size."""
    minimum_notional: Least = 5.0
    """Least value of an order in the quote currency; closing is always possible."""
    stop_first: bool = True
    """Where a bar reaches stop and target, the stop is assumed to come first."""
    intrabar: Literal["bars", "minutes"] = "bars"
    """Which bars stops and targets are looked for in: the strategy's own, or the 1-minute bars inside them."""
    rebalance_band: Share = 0.05
    """A rebalancing strategy leaves a position alone whose target moved by less than this, in multiples of equity."""
    benchmark: Literal["buy_and_hold"] = "buy_and_hold"
    """What the report compares with."""

    @model_validator(mode="after")
    def _solvent(self) -> Self:
        if self.maintenance_margin * self.leverage >= 1:
            raise ValueError("maintenance_margin < 1 / leverage must hold")
        return self


class Monitoring(Section):
    """Limits that monitoring alerts on; a backtest shows them and does not act on them."""

    max_drawdown: Share = 0.15
    """Deepest fall of equity from its highest."""
    max_consecutive_losses: Bars = 5
    """Losing trades in a row."""
    min_confidence: Share = 0.3
    """Mean filtered probability of the held state."""
    max_prediction_volatility: Positive = 0.1
    """Deviation of forecast means."""
    min_regime_stability: Share = 0.8
    """Share of bars whose held state is that of the bar before."""
    max_feature_drift: Positive = 2.0
    """Deviations of a feature's mean from that of the training window."""


class RetrainingTriggers(Section):
    """When monitoring asks for new models; a backtest's models are the pipeline's."""

    performance_degradation: Share = 0.2
    """Loss of score against the model's first days."""
    model_age_days: Bars = 31
    """Age of a model."""
    scheduled_days: Bars = 7
    """Days between looks."""


class StrategyConfig(Section):
    """A strategy, complete: what it trades, when it enters and leaves, how large, and how it is simulated."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    """What results are stored under: small letters, digits, - and _."""
    description: str = ""
    """One sentence for lists."""
    timeframe: TimeframeName = "1h"
    """Of its bars and models."""
    instruments: Annotated[tuple[str, ...], AfterValidator(instruments_only)] = ()
    """`binance:BTC/USDT:USDT` ...; empty: those the command names. Several share one account."""
    entry_logic: Logic = Logic(name="HMMLSTMEntryMixin")
    exit_logic: Logic = Logic(name="HMMLSTMExitMixin")
    position_sizing: PositionSizing = PositionSizing()
    entry_criteria: EntryCriteria = EntryCriteria()
    risk_management: RiskManagement = RiskManagement()
    exit_criteria: ExitCriteria = ExitCriteria()
    regime_specific_rules: Annotated[dict[str, RegimeRule], keys(*REGIMES, *STATES, instruments=False)] = {}
    portfolio_management: PortfolioManagement = PortfolioManagement()
    symbol_specific_rules: Annotated[dict[str, SymbolRule], keys(instruments=True)] = {}
    timeframe_analysis: TimeframeAnalysis = TimeframeAnalysis()
    regime_timeframe_rules: dict[TimeframeCase, RegimeTimeframeRule] = {}
    ensemble: Ensemble = Ensemble()
    backtesting_parameters: Backtesting = Backtesting()
    model_requirements: ModelRequirements = ModelRequirements()
    monitoring: Monitoring = Monitoring()
    retraining_triggers: RetrainingTriggers = RetrainingTriggers()

    @model_validator(mode="after")
    def _confirmable(self) -> Self:
        others = [name for name, weight in self.timeframe_analysis.weights.items() if weight and name != self.timeframe]
        if self.entry_criteria.require_timeframe_confirmation and not others:
            raise ValueError("require_timeframe_confirmation needs weights of other timeframes than the strategy's")
        return self

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        largest, leverage = self.position_sizing.max_position_size, self.backtesting_parameters.leverage
        if largest > leverage:
            raise ValueError(
                f"position_sizing.max_position_size is {largest:g} times the equity and "
                f"backtesting_parameters.leverage allows {leverage:g}: raise the leverage or lower the size"
            )
        return self
