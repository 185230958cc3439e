"""Read-only checks before a launch: one kind of check per file, every finding at once."""

from tao_skill_bank.preflight.runner import run

__all__ = ["run"]
