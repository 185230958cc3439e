"""Keeps the trials of a search in an Optuna study: SQLite in the run directory, or PostgreSQL for many hosts.

Any tool that reads Optuna studies reads these. Points are kept in the space's coordinates, scores in the metric's own
direction; what Optuna has no column for is in the attributes below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_skill_bank.automl.plan.history import Coordinate, Trial, TrialState
from tao_skill_bank.automl.plan.space import Dimension, Space
from tao_skill_bank.errors import BackendError, ConflictError, MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FILE = "study.db"
STATE, UNTIL, ORIGIN, PARENT, GPU_HOURS = "state", "until", "origin", "parent", "gpu_hours"
VALUES, ADJUSTED, JOBS, DIAGNOSIS, SECONDS = "values", "adjusted", "jobs", "diagnosis", "seconds"
SEALED = "sealed"  # of the study: what it searches, as sealed in the plan


@dataclass(frozen=True)
class TrialJob:
    """One job of a trial: a training up to an epoch, or an evaluation of it."""

    id: str
    kind: str
    results_dir: str
    until: int | None = None


@dataclass(frozen=True)
class Entry:
    """A trial as it is stored: what algorithms see, and what the controller needs in addition.

    Attributes:
        values: spec path to value, as the trial's spec has them.
        adjusted: what was changed so that the point can run, in words.
        jobs: oldest first.
        diagnosis: why it failed or was stopped, empty otherwise.
        seconds: of its jobs together.

    """

    trial: Trial
    values: Mapping[str, Any]
    adjusted: str = ""
    jobs: tuple[TrialJob, ...] = ()
    diagnosis: str = ""
    seconds: float = 0.0

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def state(self) -> TrialState:
        return self.trial.state


@dataclass(frozen=True)
class Point:
    """A trial that is about to be made."""

    coordinates: Mapping[str, Coordinate]
    values: Mapping[str, Any]
    origin: str
    until: int | None = None
    parent: int | None = None
    adjusted: str = ""
    sampler: Mapping[str, Any] = field(default_factory=dict)


class Storage:
    """The trials of one search. Every write is one transaction: a kill leaves it done or not begun."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        maximize: bool,
        space: Space,
        with_cost: bool = False,
    ) -> None:
        """Open the study, or make it; `with_cost` makes GPU hours its second objective."""
        self._optuna = _optuna()
        self._storage = _connect(self._optuna, url)
        self._sign = -1 if maximize else 1
        self._distributions = {each.name: _distribution(self._optuna, each) for each in space.dimensions}
        self._with_cost = with_cost
        self.url, self.name = url, name
        known = self._optuna.study.StudyDirection
        directions = [known.MAXIMIZE if maximize else known.MINIMIZE, *([known.MINIMIZE] if with_cost else [])]
        try:
            self._study_id = self._storage.create_new_study(directions, name)
        except self._optuna.exceptions.DuplicatedStudyError:
            self._study_id = self._storage.get_study_id_from_name(name)

    @property
    def study(self) -> Any:
        """The Optuna study, for its plots."""
        return self._optuna.load_study(study_name=self.name, storage=self._storage)

    def bind(self, sealed: str) -> None:
        """Bind the study to its sealed search. Raises ConflictError when it belongs to another request."""
        known = self._storage.get_study_user_attrs(self._study_id).get(SEALED)
        if known is None:
            self._storage.set_study_user_attr(self._study_id, SEALED, sealed)
        elif known != sealed:
            message = f"The study '{self.name}' in {self.url} belongs to another request."
            fix = (
                f"Choose another results_dir (or storage), or resume that search: tao-skills automl resume {self.name}"
            )
            raise ConflictError.of("study_of_another_request", message, fix, path="automl.storage")

    def age_seconds(self) -> float:
        """Return the time since the first trial began."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        began = min((trial.datetime_start for trial in trials if trial.datetime_start), default=None)
        return (datetime.now() - began).total_seconds() if began else 0.0

    def entries(self) -> list[Entry]:
        """Return every trial in order of its number."""
        return [self._entry(frozen) for frozen in self._storage.get_all_trials(self._study_id)]

    def entry(self, number: int) -> Entry:
        """Return one trial."""
        return self._entry(self._frozen(number))

    def create(self, point: Point) -> int:
        """Store a new trial as running and return its number; it has no job yet."""
        attributes: dict[str, Any] = {
            STATE: TrialState.RUNNING.value,
            UNTIL: point.until,
            ORIGIN: point.origin,
            PARENT: point.parent,
            VALUES: dict(point.values),
            ADJUSTED: point.adjusted,
            JOBS: [],
        }
        template = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState.RUNNING,
            params=dict(point.coordinates),
            distributions={name: self._distributions[name] for name in point.coordinates},
            user_attrs=attributes,
            system_attrs=dict(point.sampler),
        )
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        return int(self._storage.get_trial_number_from_id(trial_id))

    def add_job(self, number: int, job: TrialJob) -> None:
        """Store a job of a trial before it is launched, so that a kill in between runs nothing twice."""
        entry = self.entry(number)
        self._set(number, JOBS, [vars(kept) for kept in (*entry.jobs, job)])

    def score(self, number: int, epoch: int, score: float) -> None:
        """Store the score (lower is better) after an epoch."""
        self._storage.set_trial_intermediate_value(self._id(number), epoch, self._sign * score)

    def spent(self, number: int, *, seconds: float, gpu_hours: float) -> None:
        """Store the seconds and GPU hours of the trial so far."""
        self._set(number, SECONDS, seconds)
        self._set(number, GPU_HOURS, gpu_hours)

    def pause(self, number: int) -> None:
        """Let a trial wait at its rung."""
        self._set(number, STATE, TrialState.PAUSED.value)

    def promote(self, number: int, until: int) -> None:
        """Mark a paused trial as running; its job is launched next."""
        self._set(number, UNTIL, until)
        self._set(number, STATE, TrialState.RUNNING.value)

    def finish(self, number: int, state: TrialState, diagnosis: str = "") -> None:
        """End a trial: COMPLETE, PRUNED or FAILED. A failed one has no score, whatever it reported before."""
        if diagnosis:
            self._set(number, DIAGNOSIS, diagnosis)
        self._set(number, STATE, state.value)
        known = self._optuna.trial.TrialState
        trial = self.entry(number).trial
        ends = {TrialState.COMPLETE: known.COMPLETE, TrialState.PRUNED: known.PRUNED, TrialState.FAILED: known.FAIL}
        values = None
        if trial.score is not None and state is not TrialState.FAILED:
            values = [self._sign * trial.score, *([trial.gpu_hours] if self._with_cost else [])]
        self._storage.set_trial_state_values(self._id(number), ends[state], values)

    def _set(self, number: int, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._id(number), name, value)

    def _id(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def _frozen(self, number: int) -> "FrozenTrial":
        frozen: FrozenTrial = self._storage.get_trial(self._id(number))
        return frozen

    def _entry(self, frozen: "FrozenTrial") -> Entry:
        kept = frozen.user_attrs
        trial = Trial(
            number=frozen.number,
            coordinates=dict(frozen.params),
            state=self._state(frozen),
            scores={epoch: self._sign * value for epoch, value in sorted(frozen.intermediate_values.items())},
            until=kept.get(UNTIL),
            origin=kept.get(ORIGIN, ""),
            parent=kept.get(PARENT),
            gpu_hours=kept.get(GPU_HOURS, 0.0),
            sampler=dict(frozen.system_attrs),
            diagnosis=kept.get(DIAGNOSIS, ""),
        )
        jobs = tuple(TrialJob(**job) for job in kept.get(JOBS, ()))
        return Entry(
            trial, kept.get(VALUES, {}), kept.get(ADJUSTED, ""), jobs, kept.get(DIAGNOSIS, ""), kept.get(SECONDS, 0.0)
        )

    def _state(self, frozen: "FrozenTrial") -> TrialState:
        """Return the state: Optuna's where the trial has ended there, as a kill may precede the attribute."""
        known = self._optuna.trial.TrialState
        ended = {
            known.COMPLETE: TrialState.COMPLETE,
            known.PRUNED: TrialState.PRUNED,
            known.FAIL: TrialState.FAILED,
        }
        if frozen.state in ended:
            return ended[frozen.state]
        kept = TrialState(frozen.user_attrs.get(STATE, TrialState.RUNNING))
        return TrialState.RUNNING if kept.is_final else kept


def sqlite_url(run_dir: Path) -> str:
    """Return the URL of the study that lies in a run directory."""
    return f"sqlite:///{run_dir / FILE}"


def require_sqlite(run_dir: Path) -> None:
    """Refuse a search that has begun and whose study is gone. Raises UnknownNameError."""
    path = run_dir / FILE
    if not path.is_file() or not path.stat().st_size:
        message = f"The study of the search in {run_dir} is gone: {FILE} is missing or empty."
        fix = f"Put {FILE} back, or begin again in another results_dir; the trials' own folders are unharmed."
        raise UnknownNameError.of("study_missing", message, fix, path=str(path))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError.for_module("optuna", "automl") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    known = optuna.distributions
    if dimension.kind == "choice":
        return known.CategoricalDistribution(dimension.choices)
    if dimension.kind in ("float", "share"):
        return known.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return known.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)


def _with_driver(url: str) -> str:
    """Return the URL with the PostgreSQL driver of the extra."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _connect(optuna: Any, url: str) -> Any:
    from sqlalchemy.exc import DBAPIError

    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(_with_driver(url), engine_kwargs=options)
    except DBAPIError as error:
        message = f"The study's storage {url} cannot be used: {str(error.orig).strip().splitlines()[0]}"
        fix = "Start the database, or see that automl.storage and the password in $PGPASSWORD or ~/.pgpass are right."
        if url.startswith("sqlite"):
            fix = "Put a whole study.db back, or begin again in another results_dir."
        raise BackendError.of("storage_unreachable", message, fix, path="automl.storage") from None
