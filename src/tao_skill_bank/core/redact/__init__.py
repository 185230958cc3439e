"""Secrets: their names, the forms that they take in text, and the mask for all output. Values are never returned."""

from tao_skill_bank.core.redact.documents import masked, secret_paths, secrets_used, without_secret
from tao_skill_bank.core.redact.masker import Masker, redacted
from tao_skill_bank.core.redact.names import SECRET_NAME, is_secret_name
from tao_skill_bank.core.redact.streams import mask_output, masked_output, plain_output
from tao_skill_bank.core.redact.values import MASK

__all__ = [
    "MASK",
    "SECRET_NAME",
    "Masker",
    "is_secret_name",
    "mask_output",
    "masked",
    "masked_output",
    "plain_output",
    "redacted",
    "secret_paths",
    "secrets_used",
    "without_secret",
]
