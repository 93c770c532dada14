import pytest

from tradecore_pipeline.domain.errors import UsageError
from tradecore_pipeline.models.variant_fits import _FITS
from tradecore_pipeline.models.variants import (
    FAMILIES,
    PUBLISHED,
    VariantDefaults,
    parse_variant,
    parse_variants,
    variant_help,
)

DEFAULTS = VariantDefaults(
    states=3,
    emission="return_variance",
    features=("scaled_return",),
    carry_bars=(1, 3),
    restarts=8,
    hidden=32,
    lstm_regimes="one_hot",
    epochs=60,
    seed=7,
    feature_names=("scaled_return", "log_realized_variance", "rsi_14", "adx_14"),
)


def test_options_after_a_comma_belong_to_the_variant_before_them() -> None:
    found = parse_variants(
        "har, hmm:states=2,emission=student_t,features=scaled_return+rsi_14 ,lstm:hidden=8", DEFAULTS
    )
    assert [variant.family for variant in found] == ["har", "hmm", "lstm"]
    assert found[1].options["features"] == ["scaled_return", "rsi_14"]
    assert found[1].options["states"] == 2
    assert found[2].options["hidden"] == 8
    assert found[2].options["hmm"]["states"] == 3


def test_what_is_not_said_comes_from_the_settings() -> None:
    assert parse_variant("hmm", DEFAULTS).options == {
        "emission": "return_variance", "states": 3, "carry": [1, 3], "restarts": 8, "seed": 7,
    }  # fmt: skip
    assert parse_variant("hmm:states=3,carry=1+3", DEFAULTS).config == parse_variant("hmm", DEFAULTS).config
    assert "hmm" not in parse_variant("lstm:regimes=no", DEFAULTS).options
    assert parse_variant("lstm", DEFAULTS).options["regimes"] == "one_hot"


def test_the_lstm_s_regimes_have_the_words_of_the_settings_and_two_short_ones() -> None:
    for text, meant in (("yes", "probabilities"), ("no", "none"), ("per_regime", "per_regime"), ("one_hot", "one_hot")):
        found = parse_variant(f"lstm:regimes={text}", DEFAULTS).options
        assert found["regimes"] == meant
        assert ("hmm" in found) == (meant != "none")
    with pytest.raises(UsageError, match="did you mean one_hot"):
        parse_variant("lstm:regimes=onehot", DEFAULTS)


def test_a_plus_joins_the_parts_of_a_pool_and_the_values_of_their_options() -> None:
    pool = parse_variant("pool:har+hmm:carry=1+6+switching-har", DEFAULTS)
    assert [part.name for part in pool.fitted] == ["har", "hmm:carry=1+6", "switching-har"]
    assert pool.fitted[1].options["carry"] == [1, 6]
    assert parse_variant("har", DEFAULTS).fitted == (parse_variant("har", DEFAULTS),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hra", "unknown forecast 'hra': did you mean har"),
        ("zzz", "choose from constant-t, ewma-t"),
        ("hmm:state=2", "hmm has no option 'state': did you mean states?"),
        ("har:states=2", "it takes no options"),
        ("har,states=2", "it takes no options"),
        ("hmm:states=9", "hmm: states=9 is not possible: give a whole number from 2 to 5"),
        ("hmm:states=", "write states=VALUE once"),
        ("hmm:states=2,states=3", "write states=VALUE once"),
        ("hmm:emission=gausian", "did you mean gaussian?"),
        ("hmm:features=scaled_return", "emission=return_variance does not read features"),
        ("hmm:emission=gaussian,carry=1", "emission=gaussian does not read carry"),
        ("hmm:emission=gaussian,features=scaled_return+rsi14", "did you mean rsi_14"),
        ("hmm:emission=gaussian,features=rsi_14", "without scaled_return"),
        ("hmm:carry=0", "give numbers of bars"),
        ("pool:har", "a pool takes two or more"),
        ("pool:har+har", "the same forecast twice"),
        ("pool:har+pool:har+hmm", "a pool cannot hold a pool"),
        ("pool:har+hra", "unknown forecast 'hra'"),
        ("hmm,hmm:states=3", "hmm:states=3 and hmm are the same forecast"),
    ],
)
def test_a_typo_is_answered_with_one_line_that_has_the_nearest_words(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_variants(text, DEFAULTS)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_family_is_listed_and_can_be_fitted() -> None:
    listed = [name for name, _ in variant_help()]
    assert [name for name in listed if not name.startswith(" ")] == [*FAMILIES, "pool:A+B"]
    assert set(_FITS) == set(FAMILIES) - {PUBLISHED}
