"""What a mining is asked for, and what of it can be refused before any file is read."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.errors import BlockedError, Problem, RequestError
from tao_skill_bank.mining.metrics import NAMES, MetricName
from tao_skill_bank.mining.selection import Rules


@dataclass(frozen=True)
class Request:
    """One mining.

    Attributes:
        queries: parquet of the embeddings of the KPI set.
        pool: parquet of the embeddings of the pool.
        out: new folder.
        gaps: parquet of the failures; every row of `queries` is a query without it.
        annotations: of a labelled pool.
        media: folder that the names of `annotations` are below; its own folder by default.
        against: annotation files of other held-out sets, such as the test set.
        source_key: key of a record that says where its clip comes from.
        log: of everything that was mined; each of its clips is mined once.
        mines_again: clips of the log may be mined again.
        compares_frames: near-duplicates of held-out clips are looked for.

    """

    queries: Path
    pool: Path
    out: Path
    gaps: Path | None = None
    annotations: Path | None = None
    media: Path | None = None
    against: tuple[Path, ...] = ()
    source_key: str = ""
    log: Path | None = None
    mines_again: bool = False
    compares_frames: bool = True
    metric: MetricName = "cosine"
    rules: Rules = field(default_factory=Rules)

    def require_valid(self) -> None:
        """Raise RequestError with everything that contradicts itself or is out of range."""
        problems = [*self._numbers(), *self._missing()]
        if self.metric not in NAMES:
            message = f"There is no metric '{self.metric}'."
            problems.append(Problem("unknown_metric", message, f"Use --metric {' or '.join(NAMES)}.", "--metric"))
        if problems:
            raise RequestError(problems)

    def digest(self) -> str:
        """Return what identifies the mining: its options and files as they are. Raises BlockedError without a file."""
        named: dict[str, Any] = {"rules": vars(self.rules), "files": [_state(path) for path in self._files()]}
        named |= {name: str(value) for name, value in vars(self).items() if name not in ("rules", "against")}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode("utf-8", "backslashreplace")).hexdigest()[:16]

    def described(self) -> dict[str, Any]:
        """Return the request as plain JSON values."""
        values = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        return {**values, "against": [str(path) for path in self.against], "rules": dict(vars(self.rules))}

    def _files(self) -> list[Path]:
        optional = (self.gaps, self.annotations)
        return [self.queries, self.pool, *(path for path in optional if path is not None), *self.against]

    def _numbers(self) -> list[Problem]:
        rules, problems = self.rules, []
        if rules.top_k < 1:
            problems.append(Problem("number_out_of_range", f"--top-k is {rules.top_k}.", "Use at least 1.", "--top-k"))
        if rules.per_class is not None and rules.per_class < 1:
            message = f"--per-class is {rules.per_class}."
            problems.append(Problem("number_out_of_range", message, "Use at least 1.", "--per-class"))
        if not 0 <= rules.diversity <= 1:
            message = f"--diversity is {rules.diversity}."
            problems.append(Problem("number_out_of_range", message, "Use 0 to 1.", "--diversity"))
        if rules.threshold is not None and not (math.isfinite(rules.threshold) and rules.threshold >= 0):
            message = f"--threshold is {rules.threshold}, which is not a distance."
            problems.append(Problem("number_out_of_range", message, "Use a number from 0.", "--threshold"))
        return problems

    def _missing(self) -> list[Problem]:
        problems = []
        if self.rules.same_class and not (self.gaps and self.annotations):
            message = "--same-class compares the right answers of gaps with those of the pool."
            problems.append(Problem("option_missing", message, "Give --gaps and --pool-annotations.", "--same-class"))
        if self.rules.per_class and not (self.gaps or self.annotations):
            message = "--per-class needs classes: the answers of the pool's records, or the right answers of gaps."
            problems.append(Problem("option_missing", message, "Give --pool-annotations or --gaps.", "--per-class"))
        if self.source_key and not (self.annotations and self.against):
            message = "--source-key compares records of the pool with those of held-out sets."
            problems.append(
                Problem("option_missing", message, "Give --pool-annotations and --against.", "--source-key")
            )
        if self.media and not self.annotations:
            message = "--pool-media is the folder of the media of --pool-annotations."
            problems.append(Problem("option_missing", message, "Give --pool-annotations.", "--pool-media"))
        return problems


def _state(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise BlockedError.of("data_missing", message, "Give an existing path.", path=str(path)) from None
    return [str(path), status.st_size, status.st_mtime_ns]
