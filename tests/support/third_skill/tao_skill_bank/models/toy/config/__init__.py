from tao_skill_bank.models.toy.config.train import TrainConfig

__all__ = ["TrainConfig"]
