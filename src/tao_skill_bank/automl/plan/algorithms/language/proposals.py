"""`llm` and `autoresearch`: a language model proposes every point."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.automl.plan.algorithms import points
from tao_skill_bank.automl.plan.algorithms._setup import Setup
from tao_skill_bank.automl.plan.algorithms.language import prompt, replies, screening
from tao_skill_bank.automl.plan.algorithms.language.model import LanguageModel
from tao_skill_bank.automl.plan.algorithms.language.replies import ReplyError
from tao_skill_bank.automl.plan.algorithms.points import Point
from tao_skill_bank.automl.plan.history import Decision, Done, Start, Trial

FIELDS = {"values": dict, "rationale": str}
RATIONALE_CHARACTERS = 1000


@dataclass(frozen=True)
class Proposals:
    """The model sees the space and the trials, and names the next point."""

    setup: Setup
    model: LanguageModel

    def decide(self, trials: Sequence[Trial]) -> Decision:
        def read(text: str) -> tuple[Point, str]:
            return proposal(self.setup, trials, text)

        (point, rationale), keeps = self.model.ask(prompt.question("llm", self.setup, trials), read)
        return Start(point, "llm", sampler={**keeps, "rationale": self.model.shown(rationale, RATIONALE_CHARACTERS)})


@dataclass(frozen=True)
class Experiments:
    """Every trial is an experiment: proposed with its reason, screened, run, verified, and kept or discarded.

    The verdict on a trial is stored with the first trial that begins after it ended.
    """

    setup: Setup
    model: LanguageModel

    def decide(self, trials: Sequence[Trial]) -> Decision:
        if screening.is_spent(self.setup, trials):
            return Done("the remaining GPU hours do not suffice for another trial")
        noise = screening.noise(self.setup, trials)
        judged = screening.verdicts(trials, noise)
        kept = [verdict.number for verdict in judged if verdict.is_kept]

        def read(text: str) -> tuple[Point, str]:
            point, rationale = proposal(self.setup, trials, text)
            if complaints := list(screening.complaints(self.setup, trials, point)):
                raise ReplyError(*complaints)
            return point, rationale

        question = prompt.question(
            "autoresearch",
            self.setup,
            trials,
            kept=f"trial {kept[-1]}" if kept else "the recipe, trial 0, which has no score yet",
            noise=f"{noise:.6g}",
            verdicts="\n".join(f"- trial {verdict.number}: {verdict}" for verdict in judged) or "- none yet",
            budget=screening.budget(self.setup, trials),
        )
        (point, rationale), keeps = self.model.ask(question, read)
        reported = {number for trial in trials for number in trial.sampler.get("verdicts", {})}
        new: dict[str, Any] = {
            "rationale": self.model.shown(rationale, RATIONALE_CHARACTERS),
            "verdicts": {
                str(verdict.number): str(verdict) for verdict in judged if str(verdict.number) not in reported
            },
            "kept": kept[-1] if kept else None,
        }
        return Start(point, "autoresearch", sampler={**keeps, **new})


def proposal(setup: Setup, trials: Sequence[Trial], text: str) -> tuple[Point, str]:
    """Return the point of a reply and its reason.

    Raises:
        ReplyError: it is not a point of the space, or it has been tried.

    """
    said = replies.document(text, FIELDS)
    point = replies.point(said["values"], prompt.whole(setup))
    key = points.key(setup.space, point)
    for trial in trials:
        if points.key(setup.space, trial.coordinates) == key:
            raise ReplyError(f"Trial {trial.number} has these values already. Propose others.")
    return point, said["rationale"]
