"""Where jobs run: one file per platform."""

from tao_skill_bank.platforms._base import Platform, load, names

__all__ = ["Platform", "load", "names"]
