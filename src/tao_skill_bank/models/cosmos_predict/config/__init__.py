"""The specs of tao-finetune-cosmos-predict, one dataclass per action. No torch here."""

from tao_skill_bank.models.cosmos_predict.config.evaluate import EvaluateConfig
from tao_skill_bank.models.cosmos_predict.config.export import ExportConfig
from tao_skill_bank.models.cosmos_predict.config.generate import GenerateConfig
from tao_skill_bank.models.cosmos_predict.config.prepare import PrepareConfig
from tao_skill_bank.models.cosmos_predict.config.train import TrainConfig

__all__ = ["EvaluateConfig", "ExportConfig", "GenerateConfig", "PrepareConfig", "TrainConfig"]
