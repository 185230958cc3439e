"""Explains a GPU that is out of memory: what did not fit, and the settings that lower it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tao_skill_bank.errors import JobFailedError


@contextmanager
def explained(what: str, fix: str) -> Iterator[None]:
    """Raise JobFailedError, with this fix, when the GPU has no memory for `what`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0] if str(error) else "no details"
        message = f"The GPU is out of memory for {what}: {reason}"
        raise JobFailedError.of("cuda_out_of_memory", message, fix) from None
