"""The specs of tao-finetune-cosmos-reason, one dataclass per action. No torch here."""

from tao_skill_bank.models.cosmos_reason.config.embed import EmbedConfig
from tao_skill_bank.models.cosmos_reason.config.evaluate import EvaluateConfig
from tao_skill_bank.models.cosmos_reason.config.export import ExportConfig
from tao_skill_bank.models.cosmos_reason.config.inference import InferenceConfig
from tao_skill_bank.models.cosmos_reason.config.quantize import QuantizeConfig
from tao_skill_bank.models.cosmos_reason.config.train import TrainConfig

__all__ = ["EmbedConfig", "EvaluateConfig", "ExportConfig", "InferenceConfig", "QuantizeConfig", "TrainConfig"]
