"""Where jobs run: one package per platform, with the same file names where it has such a part."""

from tao_skill_bank.platforms.base import Platform, load, names

__all__ = ["Platform", "load", "names"]
