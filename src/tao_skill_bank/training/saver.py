"""Writes the checkpoints of a training: at the end of epochs, and where a signal interrupts it."""

import errno
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch.distributed as dist
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata

from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.contracts import EXIT_INTERRUPTED
from tao_skill_bank.errors import JobFailedError, Problem
from tao_skill_bank.training import checkpoint, checkpoint_contents, distributed, resume
from tao_skill_bank.training.bad_samples import SkipLog
from tao_skill_bank.training.checkpoint import Progress, Trained
from tao_skill_bank.training.endings import INTERRUPTED
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.resume import Identity

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Subject:
    """What is saved: the state of the training, its data fingerprint, and the records that it skipped."""

    trained: Trained
    identity: Identity
    skips: SkipLog | None = None


class Saver:
    """Writes checkpoints, one at a time. Every rank has one and calls it at the same places.

    In the background, the state is copied to host memory and written while training continues, through a separate
    process group, since two threads must not share one. The folder gets its name as soon as every rank has written.
    """

    def __init__(
        self, run: Run, subject: Subject, facts: TrainingFacts, *, max_keep: int, in_background: bool = False
    ) -> None:
        self.run, self.subject, self.facts, self.max_keep = run, subject, facts, max_keep
        self._group: Any = dist.new_group(backend="gloo", timeout=distributed.TIMEOUT) if in_background else None
        self._writer = ThreadPoolExecutor(1, "checkpoint") if in_background else None
        self._pending: tuple[Path, Future[None]] | None = None
        self._last: tuple[Path, Progress] | None = None

    def end_epoch(self, progress: Progress, score: float | None, *, saves: bool = True, name: str = "") -> None:
        """Keep the exported epoch as best if its score is, write checkpoints/epoch_N, and delete old epochs.

        A training that ends within an epoch gives the `name` of what it saves there.

        Raises:
            JobFailedError: this checkpoint, or the previous one in the background, could not be written.

        """
        self.wait()
        if self.run.ranks.is_main:
            checkpoint.keep(self.run.results_dir, name or f"epoch_{progress.epoch}", score, self.facts.metric)
        if not saves:
            self._prune()
            return
        self._write(self.run.results_dir / "checkpoints" / (name or f"epoch_{progress.epoch}"), progress)

    def interrupt(self, progress: Progress) -> NoReturn:
        """Write checkpoints/step_N unless this step is saved already, and end the training.

        Raises:
            JobFailedError: always; its exit code distinguishes an interruption from a failure.

        """
        self.wait()
        run = self.run
        if self._last is None or self._last[1].step != progress.step:
            self._write_now(run.results_dir / "checkpoints" / f"step_{progress.step}", progress)
        assert self._last is not None
        folder = self._last[0]
        run.interruption.ignore()
        run.ranks.barrier()  # when the first rank exits, torchrun ends the others
        message = f"A signal interrupted the training after step {progress.step}; its complete state is in {folder}."
        fix = f"Run it again with {self.facts.continues}: it continues with the next step."
        raise JobFailedError([Problem(INTERRUPTED, message, fix, path=self.facts.resume)], EXIT_INTERRUPTED)

    def wait(self) -> None:
        """Wait until the checkpoint in the background is complete.

        Raises:
            JobFailedError: it could not be written.

        """
        if self._pending is None:
            return
        (folder, written), self._pending = self._pending, None
        with self._explained(folder):
            written.result()
        self.run.ranks.barrier()  # every rank sees the folder under its name

    def _write(self, target: Path, progress: Progress) -> None:
        if self._writer is None:
            self._write_now(target, progress)
            self._prune()
            return
        with self._explained(target):
            work = checkpoint.begin(target, self.run.ranks)
            self._write_small(work, progress)
            state = self.subject.trained.state()
            staged = state_dict_saver.async_save(state, checkpoint_id=str(work), process_group=self._group)
        assert isinstance(staged, Future), "the default stager copies before it returns"
        self._last = target, progress
        self._pending = target, self._writer.submit(partial(self._finish, staged, target))

    def _write_now(self, target: Path, progress: Progress) -> None:
        def write(work: Path) -> None:
            self._write_small(work, progress)
            metadata = state_dict_saver.save(self.subject.trained.state(), checkpoint_id=str(work))
            self._write_contents(work, metadata)

        with self._explained(target):
            checkpoint.write_whole(target, write, self.run.ranks)
        self._last = target, progress

    def _write_small(self, work: Path, progress: Progress) -> None:
        checkpoint.write_progress(work, progress, self.run.ranks)
        if self.run.ranks.is_main:
            resume.write_identity(work, self.subject.identity)
            if self.subject.skips is not None:
                self.subject.skips.write(work)

    def _write_contents(self, work: Path, metadata: Metadata) -> None:
        if self.run.ranks.is_main:
            checkpoint_contents.write(work, metadata)

    def _finish(self, written: "Future[Any]", target: Path) -> None:
        """Wait for the data of all ranks, after which rank 0 writes the metadata, then give the folder its name."""
        self._write_contents(checkpoint.hidden(target), written.result())
        if self.run.ranks.is_main:
            checkpoint.publish(target)
            self._prune()

    def _prune(self) -> None:
        if self.run.ranks.is_main:
            checkpoint.prune(self.run.results_dir, self.max_keep)

    @contextmanager
    def _explained(self, folder: Path) -> Iterator[None]:
        """Turn the exception of a failed write into one line for the user."""
        try:
            yield
        except CheckpointException as error:
            raise _failure(folder, next(iter(error.failures.values()))[0], self.facts) from None
        except OSError as error:
            raise _failure(folder, error, self.facts) from None


def _failure(folder: Path, error: BaseException, facts: TrainingFacts) -> JobFailedError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        message = f"The disk is full: {folder} could not be written: {reason}"
        fix = (
            "Free space or choose another results_dir; keep fewer checkpoints, or write them less often. "
            f"{facts.continues} continues from the last complete checkpoint."
        )
        return JobFailedError.of("disk_full", message, fix, path=str(folder))
    message = f"The checkpoint {folder} could not be written: {type(error).__name__}: {reason}"
    fix = f"Make the folder writable; {facts.continues} continues from the last complete checkpoint."
    return JobFailedError.of("checkpoint_not_written", message, fix, path=str(folder))
