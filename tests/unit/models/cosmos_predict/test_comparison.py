"""Entries of videos to the tables of a comparison."""

import csv
from typing import Any

import pytest

from tao_skill_bank.models.cosmos_predict import comparison


def _entry(variant: str, **metrics: Any) -> dict[str, Any]:
    return {"variant": variant, **dict.fromkeys(metric.key for metric in comparison.METRICS), **metrics}


def _error(mean: float | None, **more: Any) -> dict[str, Any]:
    counts = {"pairs": 4, "matches": 100, "static_share": 0.25, "reason": "" if mean is not None else "no matches"}
    return {"mean": mean, **counts, **more}


def _verdict(*scores: int | None) -> dict[str, Any]:
    known = [score for score in scores if score is not None]
    answers = [{"seed": seed, "score": score} for seed, score in enumerate(scores)]
    return {"mean": sum(known) / len(known) if known else None, "answers": answers, "reason": "no score"}


ENTRIES = [
    _entry("base", sampson=_error(1.0), judge_physics=_verdict(2, 3)),
    _entry("base", sampson=_error(4.0), judge_physics=_verdict(2, 5)),
    _entry("base", sampson=_error(None, matches=40, static_share=1.0), judge_physics=_verdict(None, None)),
    _entry("a|b", sampson=_error(None, pairs=0, matches=0, static_share=None), judge_physics=_verdict(4, None)),
]


def test_variants_are_put_together_over_their_videos() -> None:
    compared = comparison.compare(ENTRIES)
    assert [metric.key for metric in compared.metrics] == ["sampson", "judge_physics"]
    base = compared.rows["base"]
    error = base["sampson"]
    assert (error.mean, error.std, error.not_measured) == (2.5, pytest.approx(2.1213, abs=1e-4), 1)
    assert (error.matches_per_pair, error.static_share) == (20, pytest.approx(1 - 150 / 240))
    physics = base["judge_physics"]
    assert physics.values == (2.5, 3.5)
    assert physics.seed_std == pytest.approx(1.4142, abs=1e-4)  # the means of the seeds are 2 and 4
    assert compared.rows["a|b"]["judge_physics"].seed_std is None


def test_what_has_no_value_is_said_to_have_none() -> None:
    found = comparison.summary(comparison.compare(ENTRIES))
    assert found["metrics"] == {
        "sampson/base": 2.5,
        "sampson/a|b": None,
        "judge_physics/base": 3,
        "judge_physics/a|b": 4,
    }
    assert found["not_computed"] == {"sampson/a|b": "no matches"}
    assert found["units"]["sampson/base"] == "px"


def test_a_metric_that_only_some_variants_have_is_missing_in_the_others() -> None:
    entries = [_entry("one", sampson=_error(1.0), cross_view=_error(2.0)), _entry("two", sampson=_error(1.0))]
    found = comparison.summary(comparison.compare(entries))
    assert found["not_computed"] == {"cross_view/two": "No video has a value."}


def test_the_tables_hold_a_row_per_variant() -> None:
    compared = comparison.compare(ENTRIES)
    lines = comparison.to_markdown(compared).splitlines()
    assert lines[2] == (
        "| base | 2.50 ± 2.12 good (n = 2, 1 not measured, 20 matches per pair, 38% static) "
        "| 3.00 ± 0.71 (n = 2, 1 not measured, ± 1.41 over seeds) |"
    )
    assert lines[3] == "| a\\|b | not measured: no matches | 4.00 (n = 1) |"
    rows = list(csv.DictReader(comparison.to_csv(compared).splitlines()))
    assert rows[0]["sampson_mean"] == "2.5"
    assert rows[1] | {"variant": "a|b", "sampson_mean": "", "sampson_not_measured": "1"} == rows[1]
    assert "sampson_seed_std" not in rows[0]
