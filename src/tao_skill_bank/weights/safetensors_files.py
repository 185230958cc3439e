"""Reads the headers of safetensors files: whether they are complete, and their tensors. No weights are loaded."""

import hashlib
import struct
from pathlib import Path
from typing import Any

from tao_skill_bank.core import json_reader, regular_files

LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header
HEAD_BYTES = 64
MAX_HEADER_BYTES = 100_000_000  # of the safetensors library
MAX_SIZE = 2**63
METADATA = "__metadata__"


def corruption_of(file: Path) -> str:
    """Return how a safetensors file is corrupt, judged by its header; empty when its size matches."""
    try:
        size = file.stat().st_size
        with regular_files.opened(file) as stream:
            head = stream.read(LENGTH_BYTES)
            length = struct.unpack("<Q", head)[0] if len(head) == LENGTH_BYTES else None
            if length is None or length > size - LENGTH_BYTES:
                return f"is truncated ({size} bytes)"
            header = _checked(stream.read(length)) if length <= MAX_HEADER_BYTES else None
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if header is None:
        return "is not a safetensors file"
    ends = (entry["data_offsets"][1] for name, entry in header.items() if name != METADATA)
    expected = LENGTH_BYTES + length + max(ends, default=0)
    return f"has {size} of {expected} bytes" if size < expected else ""


def read_header(file: Path) -> dict[str, Any]:
    """Return a complete file's header: dtype, shape and data_offsets by tensor name, and perhaps `__metadata__`.

    Raises:
        ValueError: the file has no such header; `corruption_of` says so first.

    """
    with regular_files.opened(file) as stream:
        length = struct.unpack("<Q", stream.read(LENGTH_BYTES))[0]
        header = _checked(stream.read(length))
    if header is None:
        raise ValueError(f"{file} is not a safetensors file")
    return header


def _checked(data: bytes) -> dict[str, Any] | None:
    """Return a header whose tensors have dtype, shape and offsets, and whose metadata are texts; None for others."""
    try:
        header = json_reader.loads(data)
    except ValueError:
        return None
    if not isinstance(header, dict) or not all(_is_tensor(entry) for name, entry in header.items() if name != METADATA):
        return None
    about = header.get(METADATA, {})
    is_plain = isinstance(about, dict) and all(isinstance(value, str) for value in about.values())
    return header if is_plain else None


def _is_tensor(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return False
    return all(_is_size(number) for number in (*shape, *offsets)) and bool(offsets[0] <= offsets[1])


def _is_size(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MAX_SIZE


def fingerprint(folder: Path, part: str = "") -> str | None:
    """Return a hash of a checkpoint's tensors: names, types, shapes and first bytes; None when no tensor can be read.

    With a `part`, only of the tensors whose names contain it.

    It is independent of how tensors are distributed over files, and reads only a few kilobytes.
    """
    entries: list[str] = []
    for path in folder.glob("*.safetensors"):
        if corruption_of(path):
            return None
        with regular_files.opened(path) as file:
            length = struct.unpack("<Q", file.read(LENGTH_BYTES))[0]
            for name, entry in (_checked(file.read(length)) or {}).items():
                if name != METADATA and part in name:
                    start, stop = entry["data_offsets"]
                    file.seek(LENGTH_BYTES + length + start)
                    head = file.read(min(HEAD_BYTES, stop - start)).hex()
                    entries.append(f"{name} {entry['dtype']} {entry['shape']} {head}")
    return hashlib.sha256("\n".join(sorted(entries)).encode()).hexdigest() if entries else None
