"""Serializes a config to the file format that a trainer reads."""

from collections.abc import Mapping
from typing import Any

import tomli_w

from tao_skill_bank.core import yaml12


def text(name: str, config: Mapping[str, Any]) -> str:
    """Return a config as TOML for a .toml file, else as YAML."""
    return tomli_w.dumps(config) if name.endswith(".toml") else yaml12.render(config)
