"""Draws the comparison as a PNG: a panel per metric."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_skill_bank.models.cosmos_predict import sampson
from tao_skill_bank.models.cosmos_predict.comparison import PIXELS, Cell, Comparison, Metric

INK, SOFT, RULE = "#1b1f24", "#5a6372", "#dfe3e9"
DOTS = "#8aaee8"
MEANS = "#d9622b"
BANDS = ("#e3f3e9", "#f2f6dc", "#fdf0d5", "#fbe3de")  # excellent, good, fair, poor
JITTER = (0.0, -0.12, 0.12, -0.06, 0.06, -0.18, 0.18)
FEW_VARIANTS = 4
UPRIGHT_LABELS = 9
COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2}  # number of columns, by the number of metrics


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture."""
    from matplotlib.figure import Figure

    columns = 1 if len(comparison.rows) > FEW_VARIANTS else COLUMNS[len(comparison.metrics)]
    lines = -(-len(comparison.metrics) // columns)
    width = max(3.8, 1.25 * len(comparison.rows) + 1.6)
    figure = Figure(figsize=(width * columns, 3.9 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, metric in zip(panels, comparison.metrics, strict=True):
        _draw_panel(axes, metric, {variant: row[metric.key] for variant, row in comparison.rows.items()})
    figure.supxlabel(
        "Dots are videos; the diamond is their mean, with their standard deviation.", fontsize=8, color=SOFT
    )
    figure.savefig(path, dpi=150, facecolor="white")


def _draw_panel(axes: Any, metric: Metric, cells: Mapping[str, Cell]) -> None:
    """Draw a metric: a dot per video, mean and standard deviation per variant, and the counts under the names."""
    top = _limits(axes, metric, cells)
    if metric.unit == PIXELS:
        _draw_bands(axes, top)
    for position, cell in enumerate(cells.values()):
        _draw_cell(axes, position, cell)
    axes.set_xlim(-0.6, len(cells) - 0.4)
    crowded = len(cells) > UPRIGHT_LABELS
    labels = [f"{variant}\n{_counts(cell)}" for variant, cell in cells.items()]
    axes.set_xticks(
        range(len(cells)), labels, fontsize=8, rotation=30 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.set_title(metric.title, color=INK, fontsize=11, loc="left")
    better = "lower" if metric.lower_is_better else "higher"
    axes.set_ylabel(f"{metric.unit}  ({better} is better)", color=SOFT, fontsize=9)
    axes.grid(visible=True, axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, length=0, labelsize=8)
    for side in axes.spines.values():
        side.set_visible(False)


def _limits(axes: Any, metric: Metric, cells: Mapping[str, Cell]) -> float:
    """Set the range of the values: 1 to 5 for scores, from 0 to a little more than the largest error."""
    if metric.unit != PIXELS:
        axes.set_ylim(0.8, 5.2)
        axes.set_yticks(range(1, 6))
        return 5.2
    top = max((value for cell in cells.values() for value in cell.values), default=1.0) * 1.12
    axes.set_ylim(0, max(top, 1.2))
    return max(top, 1.2)


def _draw_bands(axes: Any, top: float) -> None:
    edges: Sequence[float] = (0.0, *(limit for limit, _ in sampson.BANDS), float("inf"))
    names = (*(name for _, name in sampson.BANDS), "poor")
    for low, high, name, colour in zip(edges, edges[1:], names, BANDS, strict=False):
        if low < top:
            axes.axhspan(low, min(high, top), color=colour, zorder=0, linewidth=0)
            axes.text(1.0, low + top * 0.01, f"{name} ", transform=axes.get_yaxis_transform(), ha="right", va="bottom",
                      fontsize=7, color=SOFT)  # fmt: skip


def _draw_cell(axes: Any, position: int, cell: Cell) -> None:
    from matplotlib.patheffects import withStroke

    if cell.mean is None:
        middle = sum(axes.get_ylim()) / 2
        axes.text(position, middle, "not\nmeasured", ha="center", va="center", color=SOFT, fontsize=9, style="italic")
        return
    across = [position + JITTER[index % len(JITTER)] for index in range(len(cell.values))]
    axes.scatter(across, cell.values, s=18, color=DOTS, edgecolors="white", linewidths=0.5, zorder=3)
    axes.errorbar(
        position, cell.mean, yerr=cell.std, color=MEANS, marker="D", markersize=6, capsize=5, linewidth=1.6, zorder=4
    )
    halo = [withStroke(linewidth=3, foreground="white")]
    axes.annotate(
        f"{cell.mean:.2f}", (position, cell.mean), xytext=(11, 0), textcoords="offset points", va="center",
        color=INK, fontsize=9, fontweight="bold", zorder=5, path_effects=halo,
    )  # fmt: skip


def _counts(cell: Cell) -> str:
    return f"n={len(cell.values)}" + (f"\n{cell.not_measured} not measured" if cell.not_measured else "")
