"""All configuration: typed, frozen, from TRADECORE_* variables and tradecore.toml. Read only at the edges."""

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import TomlConfigSettingsSource

from tradecore_pipeline.domain.errors import SettingsError, UsageError
from tradecore_pipeline.domain.instruments import Instrument
from tradecore_pipeline.domain.offers import OFFERS, offered
from tradecore_pipeline.domain.tables import BARS_1M, FUNDING_RATES, MARKET_DATA, OPEN_INTEREST
from tradecore_pipeline.domain.time import Timeframe
from tradecore_pipeline.features.registry import FEATURE_NAMES, OWN_NAME
from tradecore_pipeline.models.inputs import FEATURES, LEAST_LSTM_BARS, RETURN_VARIANCE
from tradecore_pipeline.storage.layout import Layout

PREFIX = "TRADECORE_"
TOML_FILE = "tradecore.toml"


def _split(value: object) -> object:
    """Comma-separated text as a list: what an environment variable can hold."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _table(value: object) -> object:
    """A JSON object as a table: what an environment variable can hold."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError(f'{value!r} is not a JSON table: write {{"1h": 2160}}') from None


def _parse_instrument(text: str) -> str:
    try:
        instrument = Instrument.parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from error
    if not offered(instrument):
        kinds = ", ".join(OFFERS[instrument.exchange])
        raise ValueError(f"{text}: of {instrument.exchange} there is only {kinds} (docs/exchanges.md)")
    return str(instrument)


def _parse_timeframe(text: str) -> str:
    try:
        return str(Timeframe.parse(text))
    except UsageError as error:
        raise ValueError(str(error)) from error


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError(f"{text!r} is not an http(s) address")
    return text.rstrip("/")


Url = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1024, le=65535)]
Positive = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)]
Windows = Annotated[dict[str, Positive], NoDecode, BeforeValidator(_table)]

_NOT_IN_HOMES = set("?%*[]")
"""What SQLite's addresses and DuckDB's file patterns take for something else."""
_MOST_WINDOW_BARS = 1_000_000
_MOST_CARRY_BARS = 240
_WINDOW_BARS = {"5m": 25_920, "15m": 17_280, "30m": 8_640, "1h": 4_320, "4h": 2_190, "1d": 730}
"""Training windows: half a year at 1h (the measured default), shorter in time below, longer above."""


class Settings(BaseSettings):
    """Every setting, its default and its variable (``TRADECORE_`` + the name in capitals)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", toml_file=TOML_FILE)

    home: Path = Path(".tradecore")
    """The folder that everything a run writes lives under; relative to the current directory."""
    instruments: Names = ("binance:BTC/USDT:USDT",)
    """`exchange:symbol` in ccxt's spelling, comma-separated; a perpetual settles in its quote, spot has bars only."""
    timeframes: Names = ("1h",)
    """Lengths of bars that get features and models, comma-separated: 5m, 15m, 30m, 1h, 4h, 1d."""

    feature_files: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)] = ()
    """Python files of features of your own (docs/lookahead.md), comma-separated, relative to the current directory;
    runs execute them, so name only what you trust."""
    strategy_files: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)] = ()
    """Python files of entries and exits of your own (docs/strategies.md), likewise."""

    binance_archive_url: Url = "https://data.binance.vision"
    """The host of Binance's archive (checksummed zips)."""
    binance_archive_listing_url: Url | None = None
    """Where the archive's S3 listing answers; by default Binance's bucket, or the archive itself where changed."""
    binance_rest_url: Url = "https://fapi.binance.com"
    """The host of Binance's futures endpoints."""
    binance_spot_rest_url: Url = "https://api.binance.com"
    """The host of Binance's spot endpoints."""
    bybit_rest_url: Url = "https://api.bybit.com"
    """The host of Bybit's endpoints."""
    okx_rest_url: Url = "https://www.okx.com"
    """The host of OKX's endpoints; it says where its bulk files lie."""
    hyperliquid_rest_url: Url = "https://api.hyperliquid.xyz"
    """The host of HyperLiquid's endpoints."""
    datasets: Names = (BARS_1M.name, FUNDING_RATES.name, OPEN_INTEREST.name)
    """What a backfill without --datasets and the hourly schedule fetch, comma-separated; the others by name only."""
    archive_only: bool = False
    """Ask archives of files only, never an API: for networks that an exchange's API does not serve."""
    download_workers: Positive = 4
    """Files or pages fetched at once, per exchange."""
    request_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The part of each host's request limits that all our processes on this machine use together."""
    budget_dir: Path | None = None
    """Where those processes keep count, for all homes together, since exchanges count by address; by default a folder
    of this user in the system's temporary one."""
    http_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 20
    """Seconds without an answer after which a request is given up."""
    http_retries: Positive = 4
    """How often a failed request is tried again, with growing pauses."""

    days_per_run: Positive = 366
    """Most days in one Dagster run of a backfill."""
    months_per_run: Positive = 12
    """Most months of models in one Dagster run of a backfill."""
    training_window_bars: Windows = Field(default_factory=lambda: dict(_WINDOW_BARS))
    """Bars before a month that its models are trained on, by timeframe, at least 480; others keep the default."""
    minimum_history_fraction: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The share of the training window that must exist, or a month is refused."""

    hmm_states: Annotated[int, Field(ge=2, le=5)] = 3
    """Number of regimes, 2 to 5."""
    hmm_restarts: Positive = 8
    """Seeded starts of the regime model's fit; the best one is kept."""
    hmm_emission: Literal["return_variance", "student_t", "gaussian"] = "return_variance"
    """What a state says about a bar: its return and realized variance jointly (the measured default), or hmm_features
    under independent Student-t or Gaussian densities."""
    hmm_carry_bars: Annotated[tuple[Positive, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)] = (1, 3)
    """With return_variance: the last so many bars, whose variance carries over; regimes are what remains."""
    hmm_features: Names = ("scaled_return",)
    """With student_t and gaussian: scaled_return, log_realized_variance, features of docs/features.md or your own."""
    label_threshold: Annotated[float, Field(ge=0.5, lt=1)] = 0.6
    """A shown or traded label changes once another state's filtered probability exceeds this, at least .5."""
    tuning_objective: Literal["log_absolute_return", "log_score", "direction"] = "log_absolute_return"
    """What a choice of lengths is judged by on the folds: the size of the next move, its density, or its sign."""
    tuning_trials: Positive = 30
    """Parameter choices that the monthly study of indicators tries."""
    tuning_folds: Annotated[int, Field(ge=2, le=20)] = 4
    """Purged folds inside the training window that each choice is scored on, 2 to 20."""
    lstm_hidden: Positive = 32
    """Width of the LSTM's hidden state, where no yearly study is in force."""
    lstm_epochs: Positive = 60
    """Most passes over the training window; held-out bars stop it earlier."""
    lstm_regimes: Literal["probabilities", "one_hot", "none", "per_regime"] = "probabilities"
    """What the LSTM makes of regimes: it reads filtered probabilities, only which state is the most probable, or
    nothing; or it has a correction per state, averaged by the filtered probabilities."""
    lstm_tuned: bool = True
    """Whether the LSTM reads the month's tuned indicators."""
    lstm_ablations: bool = True
    """Whether each month's evidence also has the LSTM without regimes and without tuned indicators."""
    lstm_features: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """What the LSTM reads beside its usual inputs: features of docs/features.md or your own, comma-separated."""
    lstm_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where a month's LSTM is trained; auto takes CUDA where there is a device. Studies of its shape take the CPU."""
    random_seed: Annotated[int, Field(ge=0)] = 7
    """Of every random choice: the same seed and data give the same models."""

    dagster_port: Port = 3000
    """Port of Dagster's UI on 127.0.0.1."""
    mlflow_port: Port = 5500
    """Port of MLflow's UI on 127.0.0.1."""
    simulator_port: Port = 8790
    """Port of the simulated exchange on 127.0.0.1."""
    mlflow_tracking_uri: str | None = None
    """Where MLflow keeps runs and models; by default a SQLite file in the home."""
    max_concurrent_runs: Positive = 2
    """Dagster runs at the same time."""

    @field_validator("instruments")
    @classmethod
    def _check_instruments(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_parse_instrument(text) for text in value))

    @field_validator("datasets")
    @classmethod
    def _check_datasets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in MARKET_DATA:
                raise ValueError(f"unknown dataset {name!r}: choose from {', '.join(MARKET_DATA)}")
        return tuple(dict.fromkeys(value))

    @field_validator("timeframes")
    @classmethod
    def _check_timeframes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_parse_timeframe(text) for text in value))

    @field_validator("training_window_bars")
    @classmethod
    def _check_windows(cls, value: dict[str, int]) -> dict[str, int]:
        for name, bars in value.items():
            _parse_timeframe(name)
            if bars < LEAST_LSTM_BARS:
                raise ValueError(f"{bars} bars at {name} are too few: the LSTM needs at least {LEAST_LSTM_BARS}")
            if bars > _MOST_WINDOW_BARS:
                raise ValueError(f"{bars} bars at {name} are too many: the most is {_MOST_WINDOW_BARS}")
        return _WINDOW_BARS | value

    @field_validator("hmm_carry_bars")
    @classmethod
    def _check_carry(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(value)) or value[-1] > _MOST_CARRY_BARS:
            text = ",".join(map(str, value))
            raise ValueError(f"{text!r} are not increasing numbers of bars up to {_MOST_CARRY_BARS}: write 1,3")
        return value

    @field_validator("hmm_features", "lstm_features")
    @classmethod
    def _check_features(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = (*FEATURES, *FEATURE_NAMES) if info.field_name == "hmm_features" else FEATURE_NAMES
        for name in value:
            # What the user's files hold is known once they are run, which loading settings never does.
            if name not in known and not (info.data.get("feature_files") and OWN_NAME.fullmatch(name)):
                near = get_close_matches(name, known, n=3)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                raise ValueError(f"unknown feature {name!r}: choose from {', '.join(known)}{hint}")
        return tuple(dict.fromkeys(value))

    @field_validator("feature_files", "strategy_files")
    @classmethod
    def _check_files(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        try:
            return tuple(dict.fromkeys(path.expanduser().resolve() for path in value))
        except (RuntimeError, OSError) as error:  # a user who does not exist, a loop of links
            raise ValueError(f"one of {', '.join(map(str, value))} is no file: {error}") from error

    @field_validator("home", mode="before")
    @classmethod
    def _refuse_no_home(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("it is empty: name a folder, or leave it out for ./.tradecore")
        return value

    @field_validator("home")
    @classmethod
    def _check_home(cls, value: Path) -> Path:
        try:
            home = value.expanduser().resolve()
        except (RuntimeError, OSError) as error:  # a user who does not exist, a loop of links
            raise ValueError(f"{value} is no folder: {error}") from error
        if forbidden := sorted(set(str(home)) & _NOT_IN_HOMES):
            raise ValueError(f"{home} holds {' '.join(forbidden)}, which databases misread: choose another folder")
        return home

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the signature is pydantic's)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (likewise)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over variables, variables over tradecore.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of this process.

        Raises:
            SettingsError: a key is unknown or a value is impossible; the message names the key.
        """
        _refuse_unknown_variables(os.environ, known=frozenset(cls.model_fields))
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(_first_line(error)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{TOML_FILE} is not valid TOML: {error}") from error

    @cached_property
    def parsed_instruments(self) -> tuple[Instrument, ...]:
        """The configured instruments, in order."""
        return tuple(Instrument.parse(text) for text in self.instruments)

    @cached_property
    def parsed_timeframes(self) -> tuple[Timeframe, ...]:
        """The configured timeframes, in order."""
        return tuple(Timeframe.parse(text) for text in self.timeframes)

    @property
    def own_model_features(self) -> tuple[str, ...]:
        """The names among what the models read that are neither the models' nor the pipeline's: of the user's files."""
        regime = () if self.hmm_emission == RETURN_VARIANCE else self.hmm_features
        read = dict.fromkeys((*regime, *self.lstm_features))
        return tuple(name for name in read if name not in FEATURES and name not in FEATURE_NAMES)

    def instrument(self, text: str) -> Instrument:
        """The configured instrument called ``text``.

        Raises:
            UsageError: it is not an instrument, or not a configured one; the message says how to configure it.
        """
        wanted = Instrument.parse(text)
        if wanted not in self.parsed_instruments:
            raise UsageError(
                f"{wanted} is not configured (configured: {', '.join(self.instruments)}): "
                f"add it to {PREFIX}INSTRUMENTS or to instruments in {TOML_FILE}"
            )
        return wanted

    def timeframe(self, text: str) -> Timeframe:
        """The configured timeframe called ``text``.

        Raises:
            UsageError: it is not a timeframe, or not a configured one.
        """
        wanted = Timeframe.parse(text)
        if wanted not in self.parsed_timeframes:
            raise UsageError(
                f"timeframe {wanted} is not configured (configured: {', '.join(self.timeframes)}): "
                f"add it to {PREFIX}TIMEFRAMES or to timeframes in {TOML_FILE}"
            )
        return wanted

    def window_bars(self, timeframe: Timeframe) -> int:
        """The training window's length in bars."""
        return self.training_window_bars[timeframe.name]

    def minimum_bars(self, timeframe: Timeframe) -> int:
        """The fewest bars in a training window that a month is trained on."""
        return int(self.window_bars(timeframe) * self.minimum_history_fraction)

    @property
    def archive_listing_url(self) -> str:
        """The address that answers ``?prefix=`` requests with S3 listings."""
        if self.binance_archive_listing_url is not None:
            return self.binance_archive_listing_url
        if self.binance_archive_url == Settings.model_fields["binance_archive_url"].default:
            return "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
        return self.binance_archive_url

    @property
    def budgets(self) -> Path:
        """The folder of the request budgets."""
        return self.budget_dir or Path(tempfile.gettempdir()) / f"tradecore-budgets-{os.getuid()}"

    @property
    def urls(self) -> dict[str, str]:
        """The addresses of exchanges, by setting."""
        names = [name for name in type(self).model_fields if name.endswith("_url")]
        return {name: getattr(self, name) for name in names} | {"binance_archive_listing_url": self.archive_listing_url}

    @property
    def mlflow_uri(self) -> str:
        """Where runs and registered models are kept."""
        return self.mlflow_tracking_uri or f"sqlite:///{Layout(self.home).mlflow_database}"


def _refuse_unknown_variables(environment: Mapping[str, str], known: frozenset[str]) -> None:
    for name in environment:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in known:
            raise SettingsError(f"unknown setting {name}: the known ones are listed in docs/settings.md")


def _first_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {key!r} in {TOML_FILE}: the known ones are listed in docs/settings.md"
    reason = first["msg"].removeprefix("Value error, ")
    return f"setting {key} ({PREFIX}{key.upper()} or {TOML_FILE}): {reason}"
