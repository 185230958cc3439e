"""Decides what a search does next: begins trials as its algorithm says, follows their jobs, and ends it.

All its state is in the study's storage and in the records of the jobs, so another controller can replace one that was
killed: running trials keep running and are taken over, and nothing is started twice.
"""

import logging
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tao_skill_bank import platforms
from tao_skill_bank.automl.plan import study
from tao_skill_bank.automl.plan.history import Algorithm, Done, Promote, Start, TrialState, Wait
from tao_skill_bank.automl.plan.storage import Entry, Point, Storage
from tao_skill_bank.automl.plan.study import Study
from tao_skill_bank.automl.run import ending
from tao_skill_bank.automl.run.best import best_of
from tao_skill_bank.automl.run.trials import (
    EVALUATE,
    TRAIN,
    Look,
    TrialJobs,
    failure,
    has_succeeded,
    may_retry,
    newest_checkpoint,
)
from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import BackendError, JobFailedError, TaoSkillsError
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.runs.status_log import StatusWriter

POLL_SECONDS = 0.5
REMOTE_POLL_SECONDS = 10.0  # a cluster's scheduler should not be asked more often
MAX_LAUNCHES = 3  # of a job that its platform does not accept
DIVERGED = 2.0  # a loss so many times the recipe's worst is not worth another epoch
HOPELESS = 3  # failed trials at the beginning, and none that did not fail, end the search

logger = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """A signal asks the controller to end; `cancels` says that its trials are to end, too."""

    def __init__(self, *, cancels: bool) -> None:
        super().__init__()
        self.cancels = cancels


@dataclass
class Controller:
    """Begins trials as the algorithm decides, follows their jobs, and ends the search.

    Attributes:
        adopted: numbers of the trials that an earlier controller left running.
        devices: GPUs of this machine by the trial that has them.
        refused: how often the platform did not accept a trial's newest job.
        stop: signal number that asked for the end, 0 while there is none.

    """

    trials: TrialJobs
    algorithm: Algorithm
    status: StatusWriter
    adopted: set[int] = field(default_factory=set)
    devices: dict[int, str] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    stop: int = 0

    @property
    def study(self) -> Study:
        return self.trials.study

    @property
    def storage(self) -> Storage:
        return self.trials.storage

    def run(self) -> str:
        """Search until nothing is left to begin; return the closing message.

        Raises:
            JobFailedError: no trial got a score, or the first ones all failed.
            Stopped: a signal asked for it.

        """
        self._take_over()
        ending.require_baseline(self.trials, self._pause)
        if not self.storage.entries():
            self._create_recipe()
        reason = ""
        while not reason or self._running():
            for entry in self._running():
                self._follow(entry)
            self._require_hope()
            reason = self._over_budget() or self._begin()
            self._report()
            self._pause()
        for entry in self.storage.entries():
            if entry.state is TrialState.PAUSED:
                self.storage.finish(entry.number, TrialState.PRUNED)
        return ending.conclude(self.trials, reason, self._pause)

    def cancel_trials(self) -> None:
        """Stop every running trial; its training saves itself, and a later controller resumes it."""
        with ThreadPoolExecutor(max(1, len(self._running()))) as pool:
            list(pool.map(self._cancel, self._running()))

    def _cancel(self, entry: Entry) -> None:
        try:
            self.trials.cancel(entry)
        except TaoSkillsError as error:  # the others are stopped all the same
            logger.warning("trial %d could not be stopped: %s", entry.number, error)

    def _take_over(self) -> None:
        for entry in self._running():
            self.adopted.add(entry.number)
            plan = RunDirectory(self.trials.folder(entry.number)).plan_document()
            devices = plan["request"]["platform"]["options"].get("devices") if plan else None
            if devices:
                self.devices[entry.number] = devices

    def _create_recipe(self) -> None:
        coordinates = self.study.space.coordinates(self.trials.plan.job.spec)
        number = self.storage.create(Point(coordinates, {}, study.RECIPE, study.first_stop(self.study)))
        self.trials.train(self._entry(number), self._take_devices(number))

    def _running(self) -> list[Entry]:
        return [entry for entry in self.storage.entries() if entry.state is TrialState.RUNNING]

    def _entry(self, number: int) -> Entry:
        return self.storage.entry(number)

    # --- one trial ------------------------------------------------------------------------------------------------

    def _follow(self, entry: Entry) -> None:
        """Store what a running trial reports, and react to the state of its newest job."""
        try:
            look = self.trials.look(entry)
        except BackendError as error:  # a scheduler that does not answer now; the trial runs on
            logger.warning("trial %d cannot be queried: %s", entry.number, error)
            return
        except TaoSkillsError as error:  # its record or its files cannot be read
            self._finish(entry, TrialState.FAILED, str(error))
            return
        for epoch, score in look.scores.items():
            if entry.trial.scores.get(epoch) != score:
                self.storage.score(entry.number, epoch, score)
        if entry.number == 0 and look.validated and not look.scores:
            raise self._never_written(look)
        try:
            self._react(self._entry(entry.number), look)
        except BackendError as error:  # such as processes of an ended job that cannot be stopped
            self.refused[entry.number] = self.refused.get(entry.number, 0) + 1
            logger.warning("trial %d: %s", entry.number, error)
            if self.refused[entry.number] >= MAX_LAUNCHES:
                self._finish(self._entry(entry.number), TrialState.FAILED, str(error))

    def _react(self, entry: Entry, look: Look) -> None:
        if look.status is None or not _is_current(entry):
            self._launch(entry, entry.jobs[-1].kind if entry.jobs and _is_current(entry) else TRAIN)
            return
        state = look.status.state
        if state is State.COMPLETE or has_succeeded(look.status):
            self._trained(entry, look)
        elif state is State.CANCELED and entry.number in self.adopted:
            self._launch(entry, entry.jobs[-1].kind)
        elif state is State.CANCELED:
            self._finish(entry, TrialState.FAILED, "Its job was cancelled.")
        elif state is State.ERROR and may_retry(entry, look.status):
            logger.warning("trial %d is retried after: %s", entry.number, look.status.message)
            self.trials.clear(entry)
            self._launch(entry, entry.jobs[-1].kind)
        elif state is State.ERROR:
            self.trials.clear(entry)
            self._finish(entry, TrialState.FAILED, failure(look.status))
        elif why := self._has_diverged(entry):
            self.trials.cancel(entry)
            self._finish(entry, TrialState.PRUNED, why)

    def _launch(self, entry: Entry, kind: str) -> None:
        """Launch a trial's next job; a spec that is refused fails the trial, and the recipe's fails the search."""
        self.adopted.discard(entry.number)
        self.refused[entry.number] = self.refused.get(entry.number, 0) + 1
        try:
            if kind == EVALUATE:
                self.trials.evaluate(entry, self._take_devices(entry.number))
            else:
                parent = entry.trial.parent
                checkpoint = newest_checkpoint(self.trials.folder(parent)) if parent is not None else None
                self.trials.train(entry, self._take_devices(entry.number), parent=checkpoint)
            self.refused.pop(entry.number)
        except TaoSkillsError as error:
            if isinstance(error, BackendError) and self.refused[entry.number] < MAX_LAUNCHES:
                logger.warning("the platform does not accept trial %d: %s", entry.number, error)
                return
            if entry.number == 0 and len(self._running()) == 1:
                raise
            fixes = " ".join(problem.fix for problem in error.problems)
            self._finish(self._entry(entry.number), TrialState.FAILED, f"{error} {fixes}")

    def _trained(self, entry: Entry, look: Look) -> None:
        if self.study.metric.action is not None and entry.jobs[-1].kind == TRAIN:
            self._launch(entry, EVALUATE)
            return
        until = entry.trial.until
        if entry.trial.score is None:
            self._finish(entry, TrialState.FAILED, self._no_metric(entry, look))
        elif until is not None and until < self.study.max_epochs:
            self._store_cost(entry)
            self.storage.pause(entry.number)
            self.devices.pop(entry.number, None)
        else:
            self._finish(entry, TrialState.COMPLETE)

    def _no_metric(self, entry: Entry, look: Look) -> str:
        """Return why a trial has no score; where it is the recipe's, every trial would have none."""
        if entry.number == 0:
            raise self._never_written(look)
        found = ", ".join(look.found) or "none at all"
        return f"Trial {entry.number} ended without writing the metric {self.study.metric.title} (it wrote {found})."

    def _never_written(self, look: Look) -> JobFailedError:
        """Return the error of a metric that the recipe's trial did not write: no trial would have a score."""
        found = ", ".join(look.found) or "none at all"
        message = f"Trial 0 never wrote the metric {self.study.metric.title} (it wrote {found})."
        fix = "Set automl.metric to one that is written, or turn the validation on."
        if self.study.options.metric is None:
            file = catalog.find(self.trials.plan.job.skill).info_path
            fix = f"Name one that is written as monitoring_metric in {file}. Or: {fix[0].lower()}{fix[1:]}"
        return JobFailedError.of("metric_never_written", message, fix, path="automl.metric")

    def _has_diverged(self, entry: Entry) -> str:
        """Return why a trial is not worth another epoch; empty where it is. The recipe is never rejected."""
        recipe = self._entry(0).trial.scores
        newest = entry.trial.scores.get(max(entry.trial.scores, default=0))
        if entry.number == 0 or newest is None or not recipe or min(recipe.values()) <= 0:
            return ""
        worst = max(recipe.values())
        if newest <= DIVERGED * worst:
            return ""
        name = self.study.metric.title
        return f"It diverged: {name} is {newest:.4g} after epoch {max(entry.trial.scores)}, the recipe's {worst:.4g}."

    def _finish(self, entry: Entry, state: TrialState, why: str = "") -> None:
        self._store_cost(entry)
        self.storage.finish(entry.number, state, why)
        self.devices.pop(entry.number, None)
        logger.info("trial %d %s %s %s", entry.number, state, entry.trial.score, why)

    def _store_cost(self, entry: Entry) -> None:
        seconds, gpu_hours = self.trials.spent(entry)
        self.storage.spent(entry.number, seconds=seconds, gpu_hours=gpu_hours)

    # --- the search -----------------------------------------------------------------------------------------------

    def _begin(self) -> str:
        """Begin what the algorithm decides while there is room; return why nothing more will come, if so."""
        while len(self._running()) < self.study.parallel:
            decision = self._decide()
            if decision is None:
                return ""
            if isinstance(decision, Wait):
                assert self._running(), "the algorithm waits, and nothing runs"
                return ""
            if isinstance(decision, Done):
                return decision.reason
            if isinstance(decision, Promote):
                self.storage.promote(decision.number, decision.until)
                self._launch(self._entry(decision.number), TRAIN)
            else:
                self._launch(self._entry(self._create(decision)), TRAIN)
        return ""

    def _decide(self) -> Start | Promote | Wait | Done | None:
        """Ask the algorithm; None while its endpoint fails and trials run, which end first: they need no proposal."""
        entries = self.storage.entries()
        running = self._running()
        if self._failed_with is not None and self._failed_with == {entry.number for entry in running}:
            return None
        try:
            decision = self.algorithm.decide([entry.trial for entry in entries])
        except TaoSkillsError as error:
            if not running:
                raise
            logger.warning("No trial is begun, and those that run continue: %s", error)
            self._failed_with = {entry.number for entry in running}
            return None
        self._failed_with = None
        return decision

    def _create(self, start: Start) -> int:
        values, adjusted = self.study.point(start.coordinates, self.trials.plan.job.spec)
        point = Point(start.coordinates, values, start.origin, start.until, start.parent, adjusted, start.sampler)
        return self.storage.create(point)

    def _take_devices(self, number: int) -> str | None:
        if not self.study.devices:
            return None
        if number not in self.devices:
            self.devices[number] = next(each for each in self.study.devices if each not in self.devices.values())
        return self.devices[number]

    def _over_budget(self) -> str:
        """End the running trials once the budget is spent, and return which one it was."""
        chosen = self.study.options
        entries = self.storage.entries()
        gpu_hours = sum(self._gpu_hours(entry) for entry in entries) if chosen.max_gpu_hours else 0.0
        hours = self.storage.age_seconds() / 3600
        reason = ""
        if chosen.max_gpu_hours and gpu_hours >= chosen.max_gpu_hours:
            reason = f"the budget of {chosen.max_gpu_hours:g} {self.trials.hours} is spent"
        elif chosen.max_hours and hours >= chosen.max_hours:
            reason = f"the budget of {chosen.max_hours:g} hours is spent"
        if reason:
            self.cancel_trials()
            for entry in self._running():
                self._follow_to_the_end(entry, reason)
        return reason

    def _gpu_hours(self, entry: Entry) -> float:
        return entry.trial.gpu_hours if entry.state.is_final else self.trials.spent(entry)[1]

    def _follow_to_the_end(self, entry: Entry, reason: str) -> None:
        try:
            for epoch, score in self.trials.look(entry).scores.items():
                self.storage.score(entry.number, epoch, score)
        except TaoSkillsError as error:  # it counts with the scores so far
            logger.warning("trial %d cannot be queried: %s", entry.number, error)
        state = TrialState.PRUNED if self._entry(entry.number).trial.score is not None else TrialState.FAILED
        self._finish(self._entry(entry.number), state, f"It was stopped: {reason}.")

    def _require_hope(self) -> None:
        """End a search whose first trials all failed. Raises JobFailedError."""
        ended = [entry for entry in self.storage.entries() if entry.state.is_final]
        failed = [entry for entry in ended if entry.state is TrialState.FAILED]
        alive = [entry for entry in self.storage.entries() if entry.trial.scores and entry not in failed]
        if len(failed) >= HOPELESS and len(failed) == len(ended) and not alive:
            message = f"The first {len(failed)} trials failed; the last one: {failed[-1].diagnosis}"
            fix = "Fix the cause and run the request again; train once without the search: --automl-policy off"
            raise JobFailedError.of("trials_failed", message, fix)

    def _report(self) -> None:
        entries = self.storage.entries()
        ended = sum(entry.state.is_final for entry in entries)
        best = best_of(entries)
        message = f"{len(entries)} trials begun, {len(self._running())} running"
        if best is not None:
            message += f"; best {self.study.metric.title} {self.trials.shown(best.trial.score)} (trial {best.number})"
        if (ended, message) != (self.status.step, self._reported):
            self._reported = message
            self.status.progress(ended, self.study.options.max_trials, message)

    _reported: str = ""
    _failed_with: set[int] | None = None  # the trials that ran when the algorithm could not decide

    def _pause(self) -> None:
        """Wait a moment. Raises Stopped when a signal came."""
        if not self.stop:
            chosen = self.trials.plan.job.platform
            here = platforms.load(chosen.name).runs_here(chosen.options)
            time.sleep(POLL_SECONDS if here else REMOTE_POLL_SECONDS)
        if self.stop:
            raise Stopped(cancels=self.stop != signal.SIGUSR1)


def _is_current(entry: Entry) -> bool:
    """Return whether the newest job is for the epoch that the trial is to reach: a kill may come between the two."""
    return bool(entry.jobs) and entry.jobs[-1].until == entry.trial.until
