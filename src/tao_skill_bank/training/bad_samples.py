"""What a training does with a record whose media or text cannot be read: stop, or skip it up to a share of all records.

A rank replaces a skipped record by the next usable one of its own order, so that no rank waits for another. The log of
skips is the same on every rank after each step that found one; checkpoints hold it, so that a resume replays it.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tao_skill_bank.core import json_reader, regular_files
from tao_skill_bank.core.redact import masked
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.runs.run_directory import SKIPPED_FILE
from tao_skill_bank.training.distributed import Ranks

logger = logging.getLogger(__name__)
SHOWN = 5  # bad records that a message names
T = TypeVar("T")
SUBSTITUTES = 16  # records that are tried in place of one; more bad ones in a row end the training


@dataclass(frozen=True)
class Skip:
    """A record that was skipped: its position in the training records, and why."""

    index: int
    code: str
    message: str
    path: str = ""


@dataclass(frozen=True)
class Policy:
    """What a spec says of bad records.

    Attributes:
        skips: whether they are skipped; else the first one ends the training.
        max_share: of all training records that may be skipped.
        share_key: the spec's name of `max_share`, for messages.
        noun: what the records are called in messages.

    """

    skips: bool
    max_share: float
    share_key: str
    noun: str = "training records"


STOP = Policy(skips=False, max_share=0, share_key="")


def _stored(file: Path) -> list[Skip]:
    """Return the skips that a checkpoint holds. Raises BlockedError."""
    try:
        skips = [Skip(**entry) for entry in json_reader.loads(regular_files.read_bytes(file))]
        if all(type(skip.index) is int and isinstance(skip.message, str) for skip in skips):
            return skips
        reason = "an entry names no record"
    except (OSError, ValueError, TypeError) as error:
        reason = str(error)
    message = f"{file} does not list the records that the training skipped: {reason}."
    raise BlockedError.of("checkpoint_broken", message, "Resume from another checkpoint.", path=str(file))


def read(load: Callable[[int], T], candidates: Sequence[int]) -> tuple[T, tuple[Skip, ...]]:
    """Return the first sample of `candidates` that can be read, and those before it that cannot.

    Each is read once more before it counts as bad: storage fails for moments. Only the record's own errors count.

    Raises:
        BlockedError: none of them can be read; the error of the first.

    """
    skipped: list[Skip] = []
    first: BlockedError | None = None
    for index in candidates:
        try:
            return _twice(load, index), tuple(skipped)
        except MissingExtraError:
            raise
        except BlockedError as error:
            first = first or error
            problem = error.problems[0]
            skipped.append(Skip(index, problem.code, problem.message, problem.path))
    assert first is not None, "there is a candidate"
    raise first


def _twice(load: Callable[[int], T], index: int) -> T:
    try:
        return load(index)
    except MissingExtraError:
        raise
    except BlockedError:
        return load(index)


class SkipLog:
    """The records that a training skipped, equal on all ranks, in the order in which steps met them."""

    def __init__(self, policy: Policy, num_records: int, results_dir: Path, resumed: Path | None = None) -> None:
        """Start with what the checkpoint `resumed` skipped."""
        self.policy, self.num_records, self.results_dir = policy, num_records, results_dir
        self.entries: dict[int, Skip] = {}
        self._new: dict[int, Skip] = {}
        if resumed is not None and (resumed / SKIPPED_FILE).is_file():
            self.entries = {skip.index: skip for skip in _stored(resumed / SKIPPED_FILE)}

    @property
    def num_new(self) -> int:
        """Return how many skips of this rank `agree` has not spread yet."""
        return len(self._new)

    def note(self, skips: Iterable[Skip]) -> None:
        """Take skips that this rank met."""
        self._new |= {skip.index: skip for skip in skips if skip.index not in self.entries}

    def agree(self, ranks: Ranks) -> None:
        """Spread the new skips of all ranks. Every rank calls this at the same place.

        Raises:
            BlockedError: they are more than the policy allows; it names the files.

        """
        for found in ranks.gather(list(self._new.values())):
            for skip in found:
                if skip.index not in self.entries:
                    logger.warning("skipped record #%d: %s", skip.index, skip.message)
                self.entries.setdefault(skip.index, skip)
        self._new = {}
        if ranks.is_main:
            self.write(self.results_dir)
        self._require_few(self.entries)

    def require_few(self) -> None:
        """Refuse more skips than the policy allows, those of this rank included that `agree` has not spread yet.

        Raises:
            BlockedError: it names the files.

        """
        self._require_few(self.entries | self._new)

    def write(self, folder: Path) -> None:
        """Write the log into the run directory or a checkpoint; nothing when no record was skipped."""
        if self.entries:
            document: list[dict[str, Any]] = [asdict(skip) for skip in self.entries.values()]
            (folder / SKIPPED_FILE).write_text(
                json.dumps(masked(document), indent=1, ensure_ascii=False), encoding="utf-8"
            )

    def _require_few(self, entries: Mapping[int, Skip]) -> None:
        count, policy = len(entries), self.policy
        if count <= policy.max_share * self.num_records:
            return
        names = "; ".join(skip.message.rstrip(".") for skip in list(entries.values())[:SHOWN])
        names += f"; and {count - SHOWN} more" if count > SHOWN else ""
        message = (
            f"{count} of {self.num_records} {policy.noun} cannot be read, more than the share of "
            f"{policy.max_share:g} that {policy.share_key} allows; {SKIPPED_FILE} lists them. {names}."
        )
        fix = f"Repair or drop them, or set {policy.share_key} to {_rounded_up(count / self.num_records):g} or more."
        raise BlockedError.of("too_many_bad_samples", message, fix, path=policy.share_key, got=count)


def _rounded_up(share: float) -> float:
    return -(-share * 1000 // 1) / 1000
