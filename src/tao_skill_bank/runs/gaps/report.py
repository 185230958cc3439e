"""What a gap analysis says: counts, types of errors, clusters, and findings about the results."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import info, listed, warning
from tao_skill_bank.runs.gaps.readings import CONSTRAINED_WORDS

Match = Literal["exact", "evaluation"]


@dataclass(frozen=True)
class Cluster:
    """Gaps of one question, truth and parsed answer; 1 is the largest."""

    cluster: int
    gaps: int
    question: str
    ground_truth: str
    parsed_answer: str | None


@dataclass(frozen=True)
class GapReport:
    """What was found.

    Attributes:
        records: answers read.
        gaps: of them, those that are wrong by the rule `match`.
        kpi_gaps: the gaps as JSON lines, where they were asked for.
        differ: answers that the two rules judge differently; None where the results name no verdicts.
        unmatched: answers whose video and question no record has; None without annotations.
        error_types: how many gaps of each type.
        clusters: the largest ones.

    """

    records: int
    gaps: int
    parquet: Path
    match: Match = "exact"
    kpi_gaps: Path | None = None
    differ: int | None = None
    unmatched: int | None = None
    error_types: Mapping[str, int] = field(default_factory=dict)
    clusters: Sequence[Cluster] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def accuracy(self) -> float:
        """The share of answers that are no gaps."""
        return 1 - self.gaps / self.records

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages of warnings, with what to do."""
        return tuple(f"{found.message} {found.fix}" for found in self.findings if found.severity == "warning")

    def to_json(self) -> dict[str, Any]:
        """Return the report as a document, without its findings."""
        return {
            "gaps": str(self.parquet),
            "kpi_gaps": self.kpi_gaps and str(self.kpi_gaps),
            "answers": self.records,
            "count": self.gaps,
            "accuracy": self.accuracy,
            "match": self.match,
            "differ": self.differ,
            "unmatched": self.unmatched,
            "error_types": dict(self.error_types),
            "clusters": [asdict(each) for each in self.clusters],
        }


@dataclass
class Tally:
    """Counts of answers while they are read.

    Attributes:
        long: responses that do not look like closed answers.
        right_by_evaluation, right_by_exact: answers that are right by this rule alone.
        judged: answers of which the results name the verdict.
        unmatched: those that no record has, and the first ones.
        relative: videos that are not absolute paths.

    """

    answers: int = 0
    long: int = 0
    judged: int = 0
    right_by_evaluation: int = 0
    right_by_exact: int = 0
    unmatched: int = 0
    first_unmatched: list[str] = field(default_factory=list)
    relative: int = 0

    @property
    def differ(self) -> int | None:
        return self.right_by_evaluation + self.right_by_exact if self.judged else None

    def findings(self, results: Path, annotation: Path | None, match: Match) -> tuple[Finding, ...]:
        """Return what is to be known of the results."""
        found = [*self._different(results), *self._relative(results)]
        if match == "exact":
            found += self._unconstrained(results)
        if annotation and self.unmatched:
            message = (
                f"{self.unmatched} of {self.answers} answers are of no record of {annotation} by video and question, "
            )
            message += f"and have no record id: {listed(self.first_unmatched, self.unmatched)}."
            fix = "Give the annotations of this evaluation with --annotations, and their media with --media."
            found.append(warning("answers_unmatched", message, fix, str(annotation), count=self.unmatched))
        return tuple(found)

    def _unconstrained(self, results: Path) -> list[Finding]:
        if 2 * self.long <= self.answers:
            return []
        message = (
            f"{self.long} of {self.answers} responses are longer than {CONSTRAINED_WORDS} words: the answers look "
        )
        message += "unconstrained, so exact match counts right answers as gaps."
        fix = "Make the questions ask for a short answer, or use --match evaluation."
        return [warning("answers_unconstrained", message, fix, str(results), count=self.long)]

    def _different(self, results: Path) -> list[Finding]:
        if not self.differ:
            return []
        message = f"The two rules differ on {self.differ} answers: {self.right_by_evaluation} are right by the "
        message += f"evaluation and not exactly the truth, {self.right_by_exact} the other way round."
        return [info("matches_differ", message, str(results), count=self.differ)]

    def _relative(self, results: Path) -> list[Finding]:
        if not self.relative:
            return []
        message = f"The videos of {self.relative} gaps are not absolute paths, by which mining finds their embeddings."
        fix = "Give the folder of the media with --media."
        return [warning("videos_relative", message, fix, str(results), count=self.relative)]
