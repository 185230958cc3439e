"""A disk cache of latents and text contexts, keyed by a hash of their inputs, shared by runs and trials.

One safetensors file per entry below $TAO_STATE_DIR/cache, written atomically; ranks split the missing entries.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tao_skill_bank.core import settings, umask, unfinished


@dataclass(frozen=True)
class Cache:
    """A folder of tensors. `name` is their kind: latents, contexts."""

    name: str

    def path(self, key: str) -> Path:
        return settings.state_dir() / "cache" / "cosmos-predict" / self.name / key[:2] / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        return self.path(key).is_file()

    def load(self, key: str) -> Tensor:
        """Return an entry, on the host."""
        from safetensors.torch import load_file

        tensor: Tensor = load_file(str(self.path(key)))["tensor"]
        return tensor

    def store(self, key: str, tensor: Tensor) -> None:
        """Write an entry atomically; another process may write the same one at the same time."""
        from safetensors.torch import save_file

        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = unfinished.next_to(path)
        try:
            save_file({"tensor": tensor.detach().cpu().contiguous()}, str(partial))
            umask.follow(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the unique keys without an entry, in order."""
        return [key for key in dict.fromkeys(keys) if not self.has(key)]


def key_of(*parts: object) -> str:
    """Return the key for an entry's inputs."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()


def fill(
    cache: Cache, keys: Sequence[str], make: Callable[[int], Tensor | None], report: Callable[[int, int], None]
) -> int:
    """Create the missing entries of `keys`, and return how many there were.

    Args:
        cache: receives the entries.
        keys: those of this rank.
        make: returns the entry of the key at a position; None for one that cannot be made, which stays missing.
        report: progress callback, called with (done, total) after each entry.

    """
    positions = {key: position for position, key in enumerate(keys)}
    missing = cache.missing(keys)
    for done, key in enumerate(missing, start=1):
        entry = make(positions[key])
        if entry is not None:
            cache.store(key, entry)
        report(done, len(missing))
    return len(missing)
