"""A config as the text of the file that a trainer reads."""

from collections.abc import Mapping
from typing import Any

import tomli_w

from tao_skill_bank.core import yaml12


def text(name: str, config: Mapping[str, Any]) -> str:
    """Return a config as TOML where the file's name ends so, else as YAML."""
    return tomli_w.dumps(config) if name.endswith(".toml") else yaml12.render(config)
