"""Probes many media files at once, each in a child process under a timeout."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from tao_skill_bank.data.media.content import MediaKind
from tao_skill_bank.data.media_probe import MediaProbe, probe_in_children
from tao_skill_bank.errors import BlockedError

MAX_CHILDREN = 4


def probe_all(
    files: Sequence[Path],
    pool: Executor,
    timeout_seconds: float,
    decode_seconds: float | None = None,
    kind: MediaKind = "video",
) -> dict[Path, MediaProbe | BlockedError]:
    """Return the probe of every file, or why it cannot be used (media_probe.probe_in_children).

    Raises:
        MissingExtraError: PyAV is not installed.

    """
    num_children = min(MAX_CHILDREN, os.cpu_count() or 1)
    groups = [group for start in range(num_children) if (group := files[start::num_children])]
    outcomes: dict[Path, MediaProbe | BlockedError] = {}
    for found in pool.map(lambda group: probe_in_children(group, timeout_seconds, decode_seconds, kind), groups):
        outcomes |= found
    return outcomes
