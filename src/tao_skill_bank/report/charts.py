"""Curves as inline SVG that follows the page's colours, confusion matrices as PNG. Without matplotlib: none."""

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.report.views import RunView
from tao_skill_bank.runs.results import Curve

# Matplotlib draws in these colours; the page replaces them with its own, so that charts follow light and dark mode.
PAGE_COLOURS = {
    "#010203": "var(--ink-soft)",
    "#010204": "var(--rule)",
    "#010205": "var(--series-1)",
    "#010206": "var(--series-2)",
}
INK, RULE, FIRST, SECOND = PAGE_COLOURS
PAPER_COLOURS = {INK: "#4a5260", RULE: "#d8dce3", FIRST: "#2f6fde", SECOND: "#d9622b"}


@dataclass(frozen=True)
class Chart:
    """A drawing and its title."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Line:
    """A curve of a chart: its name and one of the colours above."""

    name: str
    curve: Curve
    colour: str
    has_markers: bool = False


def is_available() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def of_training(title: str, curves: dict[str, Curve], metric: MonitoringMetric | None = None) -> list[Chart]:
    """Return the charts of a training run; none without curves or without matplotlib.

    Args:
        title: of the run.
        curves: by name.
        metric: the metric by which the skill judges trainings; it gets its own chart unless it is one of the losses.

    """
    if not is_available():
        return []
    prefix = f"{title}: "
    charts = [
        Chart(f"{prefix}loss", _svg(_loss_lines(curves), "loss")),
        Chart(f"{prefix}learning rate", _svg(_rate_lines(curves), "learning rate")),
    ]
    if metric is not None and metric.name in curves:
        better = "higher" if metric.direction == "maximize" else "lower"
        line = Line(metric.name, curves[metric.name], FIRST, has_markers=True)
        charts.append(Chart(f"{prefix}{metric.name} ({better} is better)", _svg([line], metric.name)))
    return [chart for chart in charts if chart.svg]


def write_pictures(runs: Sequence[RunView], page: Path) -> list[Path]:
    """Write loss curves and confusion matrices as PNG files next to the page. Raises OSError."""
    if not is_available():
        return []
    evaluated = [run for run in runs if run.evaluation and run.evaluation.rows]
    pictures = {"confusion_matrices": _draw_matrices(evaluated)} if evaluated else {}
    for run in runs:
        if lines := _loss_lines(run.curves):
            name = f"loss-{run.title}" if len(runs) > 1 else "loss"
            pictures[name.replace(" ", "-")] = _draw_lines(lines, "loss")
    written = []
    for name, figure in pictures.items():
        path = page.with_name(f"{page.stem}-{name}.png")
        _recolour(figure)
        figure.savefig(path, dpi=150, facecolor="white")
        written.append(path)
    return written


def _loss_lines(curves: dict[str, Curve]) -> list[Line]:
    lines = [("training", "train_loss", FIRST, False), ("validation", "validation_loss", SECOND, True)]
    return [Line(name, curves[key], colour, markers) for name, key, colour, markers in lines if key in curves]


def _rate_lines(curves: dict[str, Curve]) -> list[Line]:
    return [Line("learning rate", curves["learning_rate"], FIRST)] if "learning_rate" in curves else []


def _svg(lines: list[Line], label: str) -> Markup:
    if not lines:
        return Markup("")
    import matplotlib as mpl

    salt = f"{label} {lines[0].curve.values[:3]}"  # two drawings of one page must not share ids
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        _draw_lines(lines, label).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    for drawn, shown in PAGE_COLOURS.items():
        text = text.replace(drawn, shown)
    return Markup(text[text.index("<svg") :])  # matplotlib escapes the text that it draws


def _draw_lines(lines: list[Line], label: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    axes = figure.subplots()
    for line in lines:
        marker = "o" if line.has_markers or len(line.curve.values) == 1 else None
        axes.plot(
            line.curve.steps,
            line.curve.values,
            color=line.colour,
            label=line.name,
            marker=marker,
            markersize=4,
            linewidth=1.6,
        )
    axes.set_xlabel(f"optimizer step{_thinning(lines)}", color=INK)
    axes.set_ylabel(label, color=INK)
    axes.grid(visible=True, color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=INK)
    return figure


def _thinning(lines: list[Line]) -> str:
    """Return, for a chart that does not draw every point, how many it draws."""
    thinned = [line.curve for line in lines if line.curve.thinned_from]
    if not thinned:
        return ""
    longest = max(thinned, key=lambda curve: curve.thinned_from)
    drawn = f"{len(longest.steps):,} of {longest.thinned_from:,} points drawn"
    return f" ({drawn}: the ends, the lowest and highest of each part)"


def _draw_matrices(runs: Sequence[RunView]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(runs), 4.0), layout="constrained")
    for axes, run in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
        evaluation = run.evaluation
        assert evaluation is not None
        shares = [[count / sum(counts) for count in counts] for _, counts in evaluation.rows]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, (_, counts) in enumerate(evaluation.rows):
            for column, count in enumerate(counts):
                colour = "white" if shares[row][column] > 0.55 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour)
        axes.set_xticks(range(len(evaluation.labels)), evaluation.labels, rotation=30, ha="right")
        axes.set_yticks(range(len(evaluation.rows)), [label for label, _ in evaluation.rows])
        axes.set_xlabel("answer", color=INK)
        axes.set_ylabel("truth", color=INK)
        axes.set_title(run.title, color=INK)
    return figure


def _recolour(figure: Any) -> None:
    """Replace the page's colours with those for a white background."""
    for artist in figure.findobj(lambda artist: hasattr(artist, "get_color")):
        colour = artist.get_color()
        if isinstance(colour, str) and colour in PAPER_COLOURS:
            artist.set_color(PAPER_COLOURS[colour])
