from tao_skill_bank.models.toy.config.evaluate import EvaluateConfig
from tao_skill_bank.models.toy.config.train import TrainConfig

__all__ = ["EvaluateConfig", "TrainConfig"]
