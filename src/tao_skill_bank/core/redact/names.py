"""The names under which secrets are kept: keys of documents and variables of the environment."""

import re

SERVICES = "ngc|nvidia|nim|hf|hub|openai|anthropic|wandb|azure|aws|gcp|google|judge|auth|master"
SECRET_NAME = re.compile(
    r"(?i:(?:^|[_.-])(?:token|secret|password|passwd|passphrase|api[_-]?key|(?:access|private|secret|account|storage)[_-]?key"
    rf"|encryption[_-]?key|(?:{SERVICES})[_-]?key|credential)s?$)"
    r"|^[A-Z][A-Z0-9_]*_(?:KEY|PASS|PWD|PAT)$|^PG?PASSWORD$|[a-z0-9](?:Token|Secret|Password|ApiKey|AccessKey|SecretKey)$"
)
_POSITIONS = (
    r"pad|eos|bos|unk|cls|sep|mask|image|video|vision|audio|special|start|end|per|each|next|first|last|max|min|num|new"
)
# `eos_token`, `time per token`: a piece of text, not a credential.
ORDINARY_NAME = re.compile(rf"(?i)(?:^|[^a-z0-9])(?:{_POSITIONS}|\w*_pad)[ _.-]tokens?$")


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name is a secret."""
    return SECRET_NAME.search(name) is not None and ORDINARY_NAME.search(name) is None
