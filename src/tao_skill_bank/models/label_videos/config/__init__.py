"""The specs of tao-label-videos, one dataclass per action. No torch here."""

from tao_skill_bank.models.label_videos.config.label import LabelConfig

__all__ = ["LabelConfig"]
