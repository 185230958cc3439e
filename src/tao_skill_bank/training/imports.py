"""Loads libraries before a program works, without the extras that they look for and without garbage collections.

transformers, peft, diffusers and accelerate import extras that are installed whether or not a program uses them, and
Python's collector goes through all that was imported so far again and again. Together that costs as much as torch.
"""

import gc
import importlib
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

QUANTIZATION = ("bitsandbytes", "torchao")
OTHER = ("scipy", "sklearn", "boto3")  # of losses, searches and clouds that no program here uses through a library
CONFIGS = ("config.json", "*/config.json")  # of a model, or of a pipeline's parts


def load(libraries: Sequence[str], *, without: Collection[str] = OTHER) -> None:
    """Import the libraries that are installed; a program that misses one says so where it uses it.

    Args:
        libraries: modules by name.
        without: modules that are not found meanwhile. A library remembers that one is missing: to name one here is to
            say that this process does not use it through any of these libraries.

    """
    with hidden(without), uncollected():
        for name in libraries:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                continue


@contextmanager
def uncollected() -> Iterator[None]:
    """Import inside without garbage collections; later ones leave out what is there at the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def needs_quantization(checkpoint: str) -> bool:
    """Return whether a checkpoint may hold quantized weights: a local one says so in its configs."""
    folder = Path(checkpoint)
    configs = [path for pattern in CONFIGS for path in folder.glob(pattern) if path.is_file()]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in configs]
    return not texts or any("quantization_config" in text for text in texts)


@contextmanager
def hidden(names: Collection[str]) -> Iterator[None]:
    """Have modules not be found inside that are not loaded yet."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say that it is not to be found
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
