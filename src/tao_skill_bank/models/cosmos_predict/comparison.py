"""Aggregates the entries of single videos into a comparison of variants: numbers and tables."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.models.cosmos_predict import sampson

Entry = dict[str, Any]
PIXELS = "px"


@dataclass(frozen=True)
class Metric:
    """A column of the comparison."""

    key: str
    title: str
    unit: str
    lower_is_better: bool


METRICS = (
    Metric("sampson", "Temporal Sampson error", PIXELS, lower_is_better=True),
    Metric("cross_view", "Cross-view Sampson error", PIXELS, lower_is_better=True),
    Metric("judge_physics", "Physical plausibility", "of 5", lower_is_better=False),
    Metric("judge_instruction", "Instruction following", "of 5", lower_is_better=False),
)


@dataclass(frozen=True)
class Cell:
    """One metric of one variant over its videos.

    Attributes:
        values: the videos' means, in the order of the entries.
        mean, std: of `values`; std is the sample standard deviation, None for a single value.
        not_measured: videos without a value; `reason` is that of the first.
        seed_std: for a judge, the standard deviation of the variant's means over the judge's seeds.
        matches_per_pair, static_share: for a Sampson error, the underlying matches over all frame pairs.

    """

    values: tuple[float, ...]
    not_measured: int
    reason: str = ""
    seed_std: float | None = None
    matches_per_pair: float | None = None
    static_share: float | None = None

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "std": self.std,
            "n": len(self.values),
            "not_measured": self.not_measured,
            "reason": self.reason,
            "seed_std": self.seed_std,
            "matches_per_pair": self.matches_per_pair,
            "static_share": self.static_share,
        }


@dataclass(frozen=True)
class Comparison:
    """Variants (rows) by metrics (columns); a metric that was not requested has no column."""

    metrics: tuple[Metric, ...]
    rows: dict[str, dict[str, Cell]]
    num_videos: int


def compare(entries: Sequence[Entry]) -> Comparison:
    """Aggregate the entries of videos, variants in order of appearance."""
    variants = dict.fromkeys(str(entry["variant"]) for entry in entries)
    used = tuple(metric for metric in METRICS if any(entry[metric.key] for entry in entries))
    rows = {
        variant: {metric.key: _cell([e[metric.key] for e in entries if e["variant"] == variant]) for metric in used}
        for variant in variants
    }
    return Comparison(used, rows, len(entries))


def summary(comparison: Comparison) -> dict[str, Any]:
    """Return metrics_summary.json: one number per metric and variant under `metrics`, all of them under `variants`."""
    cells = {
        f"{metric.key}/{variant}": (metric, row[metric.key])
        for metric in comparison.metrics
        for variant, row in comparison.rows.items()
    }
    return {
        "kind": "videos",
        "task": "video comparison",
        "num_samples": comparison.num_videos,
        "metrics": {name: cell.mean for name, (_, cell) in cells.items()},
        "not_computed": {name: cell.reason for name, (_, cell) in cells.items() if cell.mean is None},
        "units": {name: metric.unit for name, (metric, _) in cells.items()},
        "variants": {
            variant: {key: cell.to_json() for key, cell in row.items()} for variant, row in comparison.rows.items()
        },
    }


def to_csv(comparison: Comparison) -> str:
    """Return a row per variant; empty cells for missing values."""
    columns = [(metric.key, part) for metric in comparison.metrics for part in _parts(metric)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["variant", *("_".join(column) for column in columns)])
    for variant, row in comparison.rows.items():
        writer.writerow([variant, *(row[key].to_json()[part] for key, part in columns)])
    return out.getvalue()


def to_markdown(comparison: Comparison) -> str:
    """Return a row per variant: mean ± standard deviation over videos, and the counts they are based on."""
    heads = [_title(metric) for metric in comparison.metrics]
    lines = ["| variant | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for variant, row in comparison.rows.items():
        cells = [_words(metric, row[metric.key]) for metric in comparison.metrics]
        lines.append("| " + " | ".join([variant.replace("|", "\\|"), *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: Sequence[Entry | None]) -> Cell:
    asked = [entry for entry in found if entry]
    values = tuple(float(entry["mean"]) for entry in asked if entry["mean"] is not None)
    missing = [entry for entry in asked if entry["mean"] is None]
    reason = str(missing[0]["reason"]) if missing else "" if asked else "No video has a value."
    matches, pairs, moving = _geometry(asked)
    return Cell(
        values,
        len(missing),
        reason,
        seed_std=_seed_std(asked),
        matches_per_pair=matches / pairs if pairs else None,
        static_share=1 - moving / matches if matches else None,
    )


def _geometry(errors: Sequence[Entry]) -> tuple[int, int, float]:
    """Return the matches, frame pairs and moving matches of Sampson errors; zeros for other entries."""
    found = [error for error in errors if error.get("pairs")]
    moving = sum(error["matches"] * (1 - (error["static_share"] or 0)) for error in found)
    return sum(error["matches"] for error in found), sum(error["pairs"] for error in found), moving


def _parts(metric: Metric) -> tuple[str, ...]:
    own = ("matches_per_pair", "static_share") if metric.unit == PIXELS else ("seed_std",)
    return ("mean", "std", "n", "not_measured", *own)


def _seed_std(verdicts: Sequence[Entry]) -> float | None:
    """Return the standard deviation of the variant's mean over the judge's seeds."""
    by_seed: dict[int, list[float]] = {}
    for verdict in verdicts:
        for answer in verdict.get("answers", ()):
            if answer["score"] is not None:
                by_seed.setdefault(answer["seed"], []).append(answer["score"])
    means = [statistics.fmean(scores) for scores in by_seed.values()]
    return statistics.stdev(means) if len(means) > 1 else None


def _title(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit} ({'lower' if metric.lower_is_better else 'higher'} is better)"


def _words(metric: Metric, cell: Cell) -> str:
    missing = f"{cell.not_measured} not measured" if cell.not_measured else ""
    if cell.mean is None:
        return f"not measured: {cell.reason}".replace("|", "\\|")
    spread = f" ± {cell.std:.2f}" if cell.std is not None else ""
    band = f" {sampson.band(cell.mean)}" if metric.unit == PIXELS else ""
    matches = f"{cell.matches_per_pair:.0f} matches per pair" if cell.matches_per_pair is not None else ""
    still = f"{cell.static_share:.0%} static" if cell.static_share is not None else ""
    seeds = f"± {cell.seed_std:.2f} over seeds" if cell.seed_std is not None else ""
    counts = ", ".join(part for part in (f"n = {len(cell.values)}", missing, matches, still, seeds) if part)
    return f"{cell.mean:.2f}{spread}{band} ({counts})"
