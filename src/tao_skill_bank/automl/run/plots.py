"""Optuna's plots of a search as PNGs in the page's colours, each with its figures as a table, or why it is left out."""

import base64
import io
import logging
import math
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tao_skill_bank.automl.plan.history import Trial, TrialState
from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run import value_study
from tao_skill_bank.automl.run.best import best_of
from tao_skill_bank.automl.run.trials import TrialJobs
from tao_skill_bank.report import charts
from tao_skill_bank.report.views import number_text

DPI = 160
PIXELS_PER_INCH = 96  # of a page
HEIGHT = 3.5  # inches, as are the widths
FEWEST = 4  # complete trials below which importances mean nothing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Theme:
    """Colours of a plot, as in the page's style sheet; `faint` is the far end of a scale that ends in `first`."""

    ink: str
    rule: str
    first: str
    second: str
    faint: str
    card: str


LIGHT = Theme(ink="#5a6372", rule="#dfe3e9", first="#2f6fde", second="#d9622b", faint="#c3ccda", card="#ffffff")
DARK = Theme(ink="#9aa4b3", rule="#2c323c", first="#74a4ff", second="#ff9a63", faint="#414b5c", card="#1a1e25")


@dataclass(frozen=True)
class Plot:
    """A drawing of the page.

    Attributes:
        alt: what the drawing shows, in a sentence or two.
        light, dark: PNG as a data URI; empty without matplotlib or where `missing` says why.
        width, height: in pixels of the page.
        header, rows: the same figures as a table.

    """

    title: str
    alt: str = ""
    note: str = ""
    light: str = ""
    dark: str = ""
    width: int = 0
    height: int = 0
    header: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Search:
    """What plots are drawn from."""

    trials: TrialJobs
    entries: Sequence[Entry]
    study: Any = field(repr=False)

    @property
    def metric(self) -> str:
        return self.trials.study.metric.title

    @property
    def with_cost(self) -> bool:
        return "cost" in self.trials.study.options.objectives

    @property
    def complete(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.state is TrialState.COMPLETE]

    @property
    def target(self) -> Callable[[Any], float] | None:
        """What Optuna is to plot of a trial, where it has two objectives."""
        return _first_value if self.with_cost else None

    def score(self, entry: Entry) -> float | None:
        return self.trials.plain(entry.trial.score)


def of_search(trials: TrialJobs, entries: Sequence[Entry]) -> list[Plot]:
    """Return every plot, in the order of the page."""
    with _quiet():
        search = Search(trials, entries, value_study.build(trials, entries))
    return [_guarded(make, title, search) for title, make in PLOTS.items()]


def _guarded(make: Callable[[str, Search], Plot], title: str, search: Search) -> Plot:
    try:
        return make(title, search)
    except Exception as error:  # the page reports it and shows the other plots
        logger.debug("plot '%s' was not drawn", title, exc_info=error)
        return Plot(title, missing=f"Optuna could not draw it: {type(error).__name__}: {error}")


# --- what each one shows ------------------------------------------------------------------------------------------


def _history(title: str, search: Search) -> Plot:
    complete = search.complete
    if not complete:
        return Plot(title, missing="No trial has ended with all its epochs yet.")
    ended = [entry.trial for entry in complete]
    rows = tuple(
        (trial.number, search.trials.plain(trial.score), search.trials.plain(_least(ended[: place + 1])))
        for place, trial in enumerate(ended)
    )
    alt = (
        f"{search.metric} of {len(complete)} complete trials in their order; the best so far goes from "
        f"{number_text(rows[0][2])} to {number_text(rows[-1][2])}."
    )
    plot = Plot(title, alt, header=("Trial", search.metric, "Best so far"), rows=rows)
    return _drawn(plot, lambda theme: _draw_history(search, theme))


def _importances(title: str, search: Search) -> Plot:
    complete = search.complete
    if len(complete) < FEWEST:
        return Plot(title, missing=f"It takes {FEWEST} complete trials; there are {len(complete)}.")
    if len({search.score(entry) for entry in complete}) == 1:
        return Plot(title, missing="All complete trials have the same score.")
    from optuna.importance import get_param_importances

    with _quiet():
        found = get_param_importances(search.study, target=search.target)
    if not found:
        return Plot(title, missing="The complete trials share no searched parameter.")
    name, share = next(iter(found.items()))
    alt = f"Share of every parameter in the differences of {search.metric}; the most important is {name} ({share:.2f})."
    note = "By PED-ANOVA, Optuna's own; few trials say little." if len(complete) < 20 else "By PED-ANOVA, Optuna's own."
    plot = Plot(title, alt, note, header=("Parameter", "Importance"), rows=tuple(found.items()))
    return _drawn(plot, lambda theme: _draw_importances(search, theme, len(found)), height=1.3 + 0.36 * len(found))


def _parallel(title: str, search: Search) -> Plot:
    if len(search.complete) < 2:
        return Plot(title, missing=f"It takes 2 complete trials; there are {len(search.complete)}.")
    count = len({name for trial in search.study.trials for name in trial.params})
    alt = (
        f"One line for each of the {len(search.complete)} complete trials, through its values of {count} parameters, "
        f"the stronger the better its {search.metric}. The table of trials has the same figures."
    )
    note = "The stronger the line, the better the trial. The table of trials has the same figures."
    width = max(5.6, 2.0 + 1.05 * count)
    return _drawn(Plot(title, alt, note), lambda theme: _draw_parallel(search, theme), width=width, height=4.2)


def _intermediate(title: str, search: Search) -> Plot:
    scored = [entry for entry in search.entries if entry.trial.scores and entry.state is not TrialState.FAILED]
    if not scored:
        return Plot(title, missing="No trial has a score yet.")
    epochs = sorted({epoch for entry in scored for epoch in entry.trial.scores})
    if len(epochs) < 2:
        return Plot(title, missing=f"All scores are from epoch {epochs[0]}.")
    rows = tuple(
        (entry.number, *(search.trials.plain(entry.trial.scores.get(epoch)) for epoch in epochs)) for entry in scored
    )
    best = best_of(scored)
    assert best is not None
    alt = (
        f"{search.metric} after every epoch, one line for each of {len(scored)} trials. The best one, trial "
        f"{best.number}, reached {number_text(search.score(best))}."
    )
    rungs = search.trials.study.setup().rungs if search.trials.study.rungs else ()
    note = f"Trials pause after {', '.join(f'epoch {rung}' for rung in rungs[:-1])}." if len(rungs) > 1 else ""
    plot = Plot(title, alt, note, header=("Trial", *(f"Epoch {epoch}" for epoch in epochs)), rows=rows)
    return _drawn(plot, lambda theme: _draw_intermediate(search, theme, best.number, rungs))


def _pareto(title: str, search: Search) -> Plot:
    if not search.with_cost:
        return Plot(title, missing="The search has one objective.")
    if not search.complete:
        return Plot(title, missing="No trial has ended with all its epochs yet.")
    front = {trial.number for trial in search.study.best_trials}
    rows = tuple(
        (entry.number, search.score(entry), entry.trial.gpu_hours, "yes" if entry.number in front else "no")
        for entry in search.complete
    )
    alt = (
        f"{search.metric} against {search.trials.hours} of {len(rows)} complete trials; no trial is better in both "
        f"than {'trial' if len(front) == 1 else 'trials'} {', '.join(map(str, sorted(front)))}."
    )
    plot = Plot(title, alt, header=("Trial", search.metric, search.trials.hours, "On the front"), rows=rows)
    return _drawn(plot, lambda theme: _draw_pareto(search, theme))


PLOTS: Mapping[str, Callable[[str, Search], Plot]] = {
    "Optimization history": _history,
    "Scores by epoch": _intermediate,
    "Parameter importances": _importances,
    "Pareto front": _pareto,
    "Parallel coordinates": _parallel,
}


# --- drawing ------------------------------------------------------------------------------------------------------


def _draw_history(search: Search, theme: Theme) -> Any:
    from optuna.visualization.matplotlib import plot_optimization_history

    axes = plot_optimization_history(search.study, target=search.target, target_name=search.metric)
    for points in axes.collections:
        points.set(color=theme.first, zorder=3)
    for line in axes.lines:
        line.set(color=theme.second, alpha=1, linewidth=1.6, drawstyle="steps-post", label="best so far")
    recipe = search.entries[0]
    if recipe.state is TrialState.COMPLETE:
        axes.axhline(search.score(recipe), color=theme.ink, linestyle=":", linewidth=1.2, label="recipe")
    _legend(axes)
    _whole_numbers(axes.xaxis)
    return axes


def _draw_importances(search: Search, theme: Theme, count: int) -> Any:
    from optuna.visualization.matplotlib import plot_param_importances

    axes = plot_param_importances(search.study, target=search.target, target_name=search.metric)
    for bar in axes.patches:
        bar.set(color=theme.first, height=min(0.7, 0.18 * count))
    axes.set(xlabel="importance", ylabel="")
    axes.get_legend().remove()
    axes.margins(x=0.12)
    axes.autoscale_view()
    return axes


def _draw_parallel(search: Search, theme: Theme) -> Any:
    from matplotlib.colors import LinearSegmentedColormap
    from optuna.visualization.matplotlib import plot_parallel_coordinate

    axes = plot_parallel_coordinate(search.study, target=search.target, target_name=search.metric)
    maximize = search.trials.study.metric.direction == "maximize"
    scale = [theme.faint, theme.first] if maximize else [theme.first, theme.faint]
    for lines in axes.collections:
        segments, scores = lines.get_segments(), lines.get_array()
        order = scores.argsort() if maximize else (-scores).argsort()  # the best ones on top
        lines.set_segments([segments[place] for place in order])
        lines.set_array(scores[order])
        lines.set(cmap=LinearSegmentedColormap.from_list("page", scale), linewidth=1.6)
    axes.set_xticks(axes.get_xticks(), [each.get_text() for each in axes.get_xticklabels()], rotation=20, ha="right")
    for twin in axes.figure.axes:
        if twin.get_yscale() == "log":
            _value_ticks(twin)
        for label in twin.get_yticklabels():
            label.set_bbox({"facecolor": theme.card, "edgecolor": "none", "alpha": 0.8, "pad": 0.8})
    return axes


def _value_ticks(axes: Any) -> None:
    """Show values of the spec along a logarithmic axis: powers of two where it has some, no exponents of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = axes.get_ylim()
    first, last = math.log2(low), math.log2(high)
    if first.is_integer() and last.is_integer() and last - first <= 12:
        ticks = [2.0**exponent for exponent in range(round(first), round(last) + 1)]
    else:
        ticks = [low * (high / low) ** (step / 4) for step in range(5)]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _draw_intermediate(search: Search, theme: Theme, best: int, rungs: Sequence[int]) -> Any:
    from optuna.visualization.matplotlib import plot_intermediate_values

    axes = plot_intermediate_values(search.study)
    shown = {f"Trial{best}": (theme.first, f"best (trial {best})"), "Trial0": (theme.second, "recipe (trial 0)")}
    if best == 0:
        shown = {"Trial0": (theme.first, "best, the recipe (trial 0)")}
    named: list[Any] = []
    for line in axes.lines:
        colour, label = shown.get(line.get_label(), (theme.faint, "other trials"))
        is_named = line.get_label() in shown
        line.set(color=colour, label=label, alpha=1, linewidth=2.2 if is_named else 1.0, zorder=3 if is_named else 2)
        if colour == theme.first:
            line.set_zorder(4)
        if label not in {each.get_label() for each in named}:
            named.append(line)
    for rung in rungs[:-1]:
        axes.axvline(rung, color=theme.ink, linestyle=":", linewidth=1)
    _legend(axes, sorted(named, key=lambda line: -line.get_zorder()))
    axes.set(xlabel="epoch", ylabel=search.metric)
    _whole_numbers(axes.xaxis)
    return axes


def _draw_pareto(search: Search, theme: Theme) -> Any:
    from optuna.visualization.matplotlib import plot_pareto_front

    axes = plot_pareto_front(search.study, target_names=[search.metric, search.trials.hours])
    for points in axes.collections:
        points.set(color=theme.second if points.get_label() == "Best Trial" else theme.faint, zorder=3)
    labels = {"Best Trial": "on the front", "Trial": "other trials"}
    for points in axes.collections:
        points.set_label(labels[points.get_label()])
    _legend(axes)
    return axes


def _drawn(plot: Plot, draw: Callable[[Theme], Any], width: float = 5.6, height: float = HEIGHT) -> Plot:
    """Return the plot with its pictures; as it is without matplotlib."""
    if not charts.is_available():
        return plot
    light, dark = (_png(draw, theme, (width, height)) for theme in (LIGHT, DARK))
    pixels = [round(side / DPI * PIXELS_PER_INCH) for side in struct.unpack(">II", light[16:24])]  # of the PNG's head
    return replace(plot, light=_uri(light), dark=_uri(dark), width=pixels[0], height=pixels[1])


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _png(draw: Callable[[Theme], Any], theme: Theme, size: tuple[float, float]) -> bytes:
    """Return a PNG of the axes that `draw` makes, in the page's colours on nothing."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    buffer = io.BytesIO()
    with _quiet(), mpl.rc_context():
        try:
            axes = draw(theme)
            _restyle(axes, theme)
            figure = axes.figure
            figure.set_size_inches(*size)
            figure.set_layout_engine("none")  # none of them suits Optuna's colour bar
            figure.savefig(buffer, format="png", dpi=DPI, transparent=True, bbox_inches="tight", pad_inches=0.04)
        finally:
            plt.close("all")
    return buffer.getvalue()


def _restyle(axes: Any, theme: Theme) -> None:
    for place in ("left", "center"):
        axes.set_title("", loc=place)
    axes.set_facecolor("none")
    is_parallel = len(axes.figure.axes) > 2
    axes.grid(visible=not is_parallel, color=theme.rule, linewidth=0.7)
    axes.set_axisbelow(True)
    for each in axes.figure.axes:
        each.tick_params(colors=theme.ink, labelsize=9, length=3 if is_parallel else 0)
        each.xaxis.label.set(color=theme.ink, fontsize=9.5)
        each.yaxis.label.set(color=theme.ink, fontsize=9.5)
        for side in each.spines.values():
            side.set_edgecolor(theme.rule)
            side.set_visible(side.get_visible() and is_parallel)
        for text in each.texts:
            text.set(color=theme.ink, fontsize=9)
    if legend := axes.get_legend():
        legend.get_frame().set(facecolor="none", edgecolor="none")
        for text in legend.get_texts():
            text.set(color=theme.ink, fontsize=9)


def _legend(axes: Any, handles: Sequence[Any] = ()) -> None:
    """Put the legend above the axes, where no point lies under it."""
    shown = list(handles) or axes.get_legend_handles_labels()[0]
    axes.legend(handles=shown, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(shown), borderaxespad=0.2)


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's notes on experimental plots, and Matplotlib's on equal limits, from the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _least(ended: Sequence[Trial]) -> float | None:
    return min((trial.score for trial in ended if trial.score is not None), default=None)


def _first_value(trial: Any) -> float:
    return float(trial.values[0])
