"""Tests that need more of a machine than most have."""

import os
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Skip a test for what this machine lacks; on CI, where it has to run, fail it."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"This has to run on CI: {reason}")
    pytest.skip(reason)
