"""Secrets: their names, the forms that they take in text, and the mask for all output. Values are never returned."""

from tao_skill_bank.core.redact.documents import secret_paths, without_secret
from tao_skill_bank.core.redact.masker import Masker, redacted
from tao_skill_bank.core.redact.names import SECRET_NAME, is_secret_name
from tao_skill_bank.core.redact.values import MASK

__all__ = ["MASK", "SECRET_NAME", "Masker", "is_secret_name", "redacted", "secret_paths", "without_secret"]
