"""What shared training code must know of Cosmos-Reason; skill_info.yaml says the same to the control plane."""

from tao_skill_bank.bank.early_stop import EarlyStop
from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.contracts import MonitoringMetric

FACTS = TrainingFacts(
    metric=MonitoringMetric("val/avg_loss", "minimize"),
    early_stop=EarlyStop(epochs="train.epoch", stop="train.stop_epoch"),
    resume="train.resume",
    max_steps="train.max_steps",
)
