"""Reads the headers of safetensors files: whether they are complete, and their tensors. No weights are loaded."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header
HEAD_BYTES = 64


def corruption_of(file: Path) -> str:
    """Return how a safetensors file is corrupt, judged by its header; empty when its size matches."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(LENGTH_BYTES)
        length = struct.unpack("<Q", head)[0] if len(head) == LENGTH_BYTES else None
        if length is None or length > size - LENGTH_BYTES:
            return f"is truncated ({size} bytes)"
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "is not a safetensors file"
    expected = LENGTH_BYTES + length + max(ends, default=0)
    return f"has {size} of {expected} bytes" if size < expected else ""


def read_header(file: Path) -> dict[str, Any]:
    """Return a complete file's header: dtype, shape and data_offsets by tensor name, and perhaps `__metadata__`."""
    with file.open("rb") as stream:
        length = struct.unpack("<Q", stream.read(LENGTH_BYTES))[0]
        header: dict[str, Any] = json.loads(stream.read(length))
    return header


def fingerprint(folder: Path) -> str | None:
    """Return a hash of a checkpoint's tensors: names, types, shapes and first bytes; None when no tensor can be read.

    It is independent of how tensors are distributed over files, and reads only a few kilobytes.
    """
    entries: list[str] = []
    for path in folder.glob("*.safetensors"):
        if corruption_of(path):
            return None
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(LENGTH_BYTES))[0]
            for name, entry in json.loads(file.read(length)).items():
                if name != "__metadata__":
                    start, stop = entry["data_offsets"]
                    file.seek(LENGTH_BYTES + length + start)
                    head = file.read(min(HEAD_BYTES, stop - start)).hex()
                    entries.append(f"{name} {entry['dtype']} {entry['shape']} {head}")
    return hashlib.sha256("\n".join(sorted(entries)).encode()).hexdigest() if entries else None
