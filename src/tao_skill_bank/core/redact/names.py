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


# `secret: tao-credentials` of Kubernetes names an object: its value is not a secret.
_OBJECT = re.compile(r"(?i)(?:^|[^a-z0-9_-])(?:(?:image[_-]?)?pull[_-]?)?secret$")
_OBJECT_NAME = re.compile(r"[a-z]{2,}(?:-(?:[a-z]+\d?|\d{1,3}))*")


def names_object(name: str, value: str) -> bool:
    """Return whether a value next to a name is the name of an object that holds secrets."""
    return _OBJECT.search(name) is not None and _OBJECT_NAME.fullmatch(value) is not None
