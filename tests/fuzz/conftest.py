"""No launches, no network and no waiting while inputs are hostile."""

import os
import socket
import subprocess

import pytest
from hypothesis import HealthCheck, settings

from tao_skill_bank.platforms import processes

# The kept sample is the same in every run; `make fuzz` looks for other inputs each time.
settings.register_profile(
    "hostile",
    deadline=None,
    database=None,
    derandomize="TAO_FUZZ_INPUTS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _no_launches(monkeypatch):
    """Let nothing start a process or reach a network: such a call is a failure of the test."""

    def refuse(*given, **_):
        raise AssertionError(f"this would have been launched: {given[:1]}")

    for target, name in (
        (processes, "spawn"),
        (subprocess, "run"),
        (subprocess, "Popen"),
        (socket, "create_connection"),
    ):
        monkeypatch.setattr(target, name, refuse)
