"""A search to one self-contained HTML page: what it found, every trial, and Optuna's plots. Works at any moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank import report
from tao_skill_bank.automl.plan import algorithms, review
from tao_skill_bank.automl.plan.storage import Entry
from tao_skill_bank.automl.run import baseline, noise, plots, progress, value_study
from tao_skill_bank.automl.run.best import best_document, best_of, score_of, write_best_request
from tao_skill_bank.automl.run.plots import Plot
from tao_skill_bank.automl.run.progress import TrialRow
from tao_skill_bank.automl.run.trials import BASELINE, FINAL, TrialJobs
from tao_skill_bank.contracts import State
from tao_skill_bank.core import nested, yaml12
from tao_skill_bank.report import charts
from tao_skill_bank.report.views import number_text
from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory, epoch_seconds, timestamp

RATIONALE = "rationale"  # what a language model says of its proposal, among what a sampler stores


@dataclass(frozen=True)
class TrialView:
    """A trial as the page shows it; `values` are in the order of the table's columns."""

    row: TrialRow
    epochs: int
    values: tuple[Any, ...]
    rationale: str
    is_best: bool

    @property
    def is_recipe(self) -> bool:
        return self.row.number == 0


@dataclass(frozen=True)
class Figure:
    """A number of the head of the page."""

    label: str
    value: str


@dataclass(frozen=True)
class SearchView:
    """A search as the page shows it.

    Attributes:
        facts: name and text.
        parameters: path, range, the recipe's value, the best trial's.
        columns: short name and path of every value of the trials' table.
        best_request: the file that trains the best spec once, and its content; None without a best trial.

    """

    job_id: str
    skill: str
    state: State
    message: str
    figures: tuple[Figure, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    parameters: tuple[tuple[Any, ...], ...]
    metric: str
    columns: tuple[tuple[str, str], ...]
    trials: tuple[TrialView, ...]
    plots: tuple[Plot, ...]
    best_request: tuple[Path, str] | None = None


def write(trials: TrialJobs, out: Path, state: State, message: str = "") -> Path:
    """Write the page of a search and return its path.

    Args:
        trials: of the search.
        out: HTML file.
        state: of the controller's job.
        message: why it ended, or how far it is.

    Raises:
        BlockedError: the file cannot be written.

    """
    return report.write_page(text(trials, state, message), out)


def text(trials: TrialJobs, state: State, message: str = "") -> str:
    """Return the page of a search, whose controller's job is in a state."""
    seen = view(trials, state, message)
    return report.render("search.html.jinja", search=seen, has_charts=charts.is_available(), written_at=timestamp())


def view(trials: TrialJobs, state: State, message: str = "") -> SearchView:
    """Return what the page shows."""
    entries = trials.storage.entries()
    now = progress.of(trials)
    best = best_of(entries)
    values = [value_study.values_of(trials, entry) for entry in entries]
    paths = list(dict.fromkeys(path for own in (*values, *trials.study.first) for path in own))
    request = (write_best_request(trials, best), yaml12.render(best_document(trials, best))) if best else None
    return SearchView(
        job_id=trials.plan.job.id,
        skill=trials.plan.job.skill,
        state=state,
        message=message,
        figures=tuple(_figures(trials, entries, best)),
        facts=tuple(_facts(trials, entries, now, state)),
        notes=trials.study.notes,
        parameters=tuple(_parameters(trials, best)),
        metric=now.metric,
        columns=tuple((name, path) for path, name in value_study.short_names(paths).items()),
        trials=tuple(
            TrialView(
                row=row,
                epochs=_epochs(entry),
                values=tuple(own.get(path) for path in paths),
                rationale=_rationale(entry),
                is_best=row.number == now.best_trial,
            )
            for row, entry, own in zip(now.trials, entries, values, strict=False)
        ),
        plots=tuple(plots.of_search(trials, entries)),
        best_request=request,
    )


def _rationale(entry: Entry) -> str:
    """Return a language model's rationale of the trial, or of the phase that it belongs to."""
    kept = entry.trial.sampler
    phase = kept.get("phase")
    return str(kept.get(RATIONALE) or (phase.get(RATIONALE) if isinstance(phase, dict) else "") or "")


def _figures(trials: TrialJobs, entries: Sequence[Entry], best: Entry | None) -> list[Figure]:
    """Return the best score, its difference to the recipe's, and the results of evaluations."""
    if best is None:
        return []
    metric, score = trials.study.metric.title, trials.plain(best.trial.score)
    figures = [Figure(f"{metric} · trial {best.number}, the best", number_text(score))]
    recipe = trials.plain(score_of(entries[0]))
    if recipe is not None and score is not None:
        label = f"against the recipe's {number_text(recipe)}"
        label += f", {(score - recipe) / abs(recipe):+.1%}" if recipe else ""
        if trials.study.rungs and (reached := _epochs(entries[0])) < _epochs(best):
            label += f"; the recipe was paused after epoch {reached}"
        figures.append(Figure(label, f"{score - recipe:+.4g}"))
    evaluation = trials.study.keys.evaluation
    if evaluation is None:
        return figures
    before, after = (_evaluated(trials.run_dir / name, evaluation.metric) for name in (BASELINE, FINAL))
    if after is not None:
        figures.append(Figure(f"{evaluation.metric} · evaluation of the best", number_text(after)))
    if before is not None:
        change = f"{after - before:+.4g}" if after is not None else number_text(before)
        label = f"against the baseline's {number_text(before)}" if after is not None else "baseline"
        figures.append(Figure(f"{evaluation.metric} · {label}", change))
    return figures


def _epochs(entry: Entry) -> int:
    return max(entry.trial.scores, default=0)


def _evaluated(folder: Path, metric: str) -> float | None:
    return results.read(RunDirectory(folder)).metrics.get(metric)


def _facts(trials: TrialJobs, entries: Sequence[Entry], now: progress.Progress, state: State) -> list[tuple[str, str]]:
    chosen = trials.study.options
    counts = ", ".join(
        f"{count} {name.lower()}"
        for name in dict.fromkeys(entry.state for entry in entries)
        if (count := sum(entry.state is name for entry in entries))
    )
    facts = [
        ("Algorithm", f"{chosen.algorithm}: {algorithms.INFO[chosen.algorithm].meaning}"),
        ("Metric", f"{now.metric}, {now.direction}"),
        ("Trials", f"{len(entries)} of at most {now.max_trials}{f': {counts}' if counts else ''}"),
        (trials.hours, number_text(now.gpu_hours)),
        ("Wall clock", report.duration_text(_wall_seconds(trials, state)) if entries else "–"),
    ]
    if now.eta_seconds and not state.is_terminal:
        facts.append(("Left", f"about {report.duration_text(now.eta_seconds)}"))
    not_computed = results.read(RunDirectory(trials.run_dir)).not_computed
    if why := baseline.why_not_scored(trials):  # known long before the search ends
        not_computed = {"baseline": why} | not_computed
    for name, why in not_computed.items():
        facts.append(("Not computed", f"{name.replace('_', ' ')}: {why}"))
    facts += [("Warning", f"{found['message']} {found.get('fix', '')}") for found in baseline.findings(trials)]
    if (gained := noise.gain(trials, entries, best_of(entries))) is not None:
        facts.append(("Gain", gained.text))
    if (compared := baseline.against_the_best(trials)) is not None:
        chance = f"; McNemar's exact test: {compared.p_text}" if compared.p_text else ""
        text = (
            f"{compared.gained} newly right and {compared.lost} newly wrong of {compared.questions} questions{chance}"
        )
        facts.append(("Against the baseline", text))
    model = trials.plan.job.workload.model
    return [*facts, *([("Model", model)] if model else []), ("Folder", str(trials.run_dir))]


def _wall_seconds(trials: TrialJobs, state: State) -> float:
    """Return the time from the first trial to now, or to the search's last status where it has ended."""
    age = trials.storage.age_seconds()
    last = epoch_seconds(RunDirectory(trials.run_dir).last_status().get("time"))
    now = epoch_seconds(timestamp())
    return max(age - (now - last), 0.0) if state.is_terminal and last and now else age


def _parameters(trials: TrialJobs, best: Entry | None) -> list[tuple[Any, ...]]:
    own = value_study.values_of(trials, best) if best else {}
    spec = trials.plan.job.spec
    return [
        (each.name, review.range_of(each), nested.get(spec, each.name), own.get(each.name))
        for each in trials.study.space.dimensions
    ]
