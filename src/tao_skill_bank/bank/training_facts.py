"""What shared training code must know of a model: the metric that best/ follows, and what its spec calls a few keys.

A trainer reads its config and nothing else, and an image may hold the package without skills/. So each model states
this in its `facts.py`, and `bank/consistency` refuses a skill whose skill_info.yaml says anything else.
"""

from dataclasses import dataclass

from tao_skill_bank.bank.early_stop import EarlyStop
from tao_skill_bank.contracts import MonitoringMetric


@dataclass(frozen=True)
class TrainingFacts:
    """Facts of a model's trainings.

    Attributes:
        metric: what best/ follows; every validation writes it.
        early_stop: the keys of the last epoch.
        resume: the key that, set true, continues from the newest checkpoint of the run directory.
        max_steps: the key that sets the length in optimizer steps; empty where the model has none.

    """

    metric: MonitoringMetric
    early_stop: EarlyStop
    resume: str
    max_steps: str = ""

    @property
    def continues(self) -> str:
        """The setting that continues a training from its newest checkpoint."""
        return f"{self.resume}=true"

    @property
    def starts_again(self) -> str:
        """How a training leaves a checkpoint alone that it cannot be resumed from."""
        return f"start again in another folder: --set {self.resume}=false --results-dir NEW_FOLDER"
