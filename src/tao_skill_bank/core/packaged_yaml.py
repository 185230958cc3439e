"""YAML of files that come with the bank, as plain Python values."""

from typing import Any

import yaml

# libyaml, where PyYAML was built with it, takes a tenth of the time.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str) -> Any:
    """Return the value of a document. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)
