"""Where jobs run: one package per platform, whose files have the same names for the same parts."""

from tao_skill_bank.platforms.base import Platform, load, names

__all__ = ["Platform", "load", "names"]
