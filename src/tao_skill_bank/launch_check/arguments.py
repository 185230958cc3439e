"""The flags of `check_tao_launch_preflight.py`, kept so that existing runbooks continue to work."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

USAGE_EXIT_CODE = 1


class UsageError(Exception):
    """The command line itself is wrong; nothing was checked."""


@dataclass(frozen=True)
class BatchLimit:
    """Largest effective batch: `batch` samples on each of `shards` ranks."""

    batch: int
    shards: int


class _Parser(argparse.ArgumentParser):
    """Exits with 1 on a usage error: 2 means that a check failed."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed flags; LABEL=VALUE flags as dictionaries by label.

    Raises:
        UsageError: an unknown flag, a malformed LABEL=VALUE, or a label that no --path names.

    """
    namespace = _parser().parse_args(arguments)
    namespace.path = _labelled(namespace.path, "--path")
    namespace.min_free_disk_gb = {
        label: _number(value, "--min-free-disk-gb")
        for label, value in _labelled(namespace.min_free_disk_gb, "--min-free-disk-gb").items()
    }
    namespace.json_required_field = _lists(namespace.json_required_field, "--json-required-field")
    namespace.gpu_arch_allowlist = _lists(namespace.gpu_arch_allowlist, "--gpu-arch-allowlist")
    namespace.effective_batch_limit = {
        label: _batch_limit(value)
        for label, value in _labelled(namespace.effective_batch_limit, "--effective-batch-limit").items()
    }
    for flag in ("min_free_disk_gb", "json_required_field", "effective_batch_limit"):
        for label in getattr(namespace, flag):
            if label not in namespace.path:
                raise UsageError(f"--{flag.replace('_', '-')} {label}=...: no --path {label}=PATH is given")
    if not namespace.platform and not namespace.request:
        raise UsageError("--platform NAME or --request FILE is required")
    return namespace


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="check_tao_launch_preflight.py",
        description="Checks paths, data and hardware before a TAO launch. Exit 0 passed, 2 failed, 1 wrong usage.",
    )
    parser.add_argument("--platform", help="local, docker, slurm or kubernetes (local-docker, remote-docker: docker)")
    parser.add_argument("--skill-bank", type=Path, help="bank root; $TAO_SKILL_BANK_PATH by default")
    parser.add_argument("--request", type=Path, help="a request file whose whole preflight is run too")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    parser.add_argument("--docker-host", help="Docker host, as ssh://USER@HOST")
    parser.add_argument("--skip-platform-access", action="store_true", help="do not contact the platform")
    parser.add_argument("--install-missing-tools", action="store_true", help="accepted; nothing is ever installed")
    _add_data_flags(parser)
    _add_gpu_flags(parser)
    return parser


def _add_data_flags(parser: argparse.ArgumentParser) -> None:
    labelled = parser.add_argument_group("data (repeatable)")
    labelled.add_argument("--path", action="append", default=[], metavar="LABEL=PATH")
    labelled.add_argument("--min-free-disk-gb", action="append", default=[], metavar="LABEL=GIB")
    labelled.add_argument("--json-required-field", action="append", default=[], metavar="LABEL=FIELD[,FIELD]")
    labelled.add_argument("--json-sample-limit", type=_positive, metavar="N", help="records read; all by default")
    labelled.add_argument("--effective-batch-limit", action="append", default=[], metavar="LABEL=BATCH,SHARDS")


def _add_gpu_flags(parser: argparse.ArgumentParser) -> None:
    gpu = parser.add_argument_group("GPUs")
    gpu.add_argument("--gpu-arch-allowlist", action="append", default=[], metavar="LABEL=SM[,SM]")
    gpu.add_argument("--gpu-arch", help="architecture of the target's GPUs, instead of querying this machine")
    gpu.add_argument("--image-supported-sm", metavar="SM[,SM]", help="architectures the container image is built for")
    gpu.add_argument("--gpu-min-count", type=_positive, metavar="N")
    gpu.add_argument("--gpu-min-memory-gb", "--min-gpu-memory-gb", type=float, metavar="GIB", help="of each GPU")
    gpu.add_argument("--gpu-min-total-memory-gb", type=float, metavar="GB", help="of all GPUs, decimal GB")
    gpu.add_argument("--low-vram-threshold-gb", type=float, default=50.0, metavar="GIB", help="warn below; 50")
    gpu.add_argument("--target-gpu-count", type=_positive, metavar="N", help="GPUs of the target machine")
    gpu.add_argument("--target-gpu-memory-gb", type=float, metavar="GIB", help="memory of each of them")
    gpu.add_argument("--target-gpu-index", type=int, metavar="I", help="check only this GPU")
    gpu.add_argument("--container-image")
    gpu.add_argument("--gpu-smoke-image")
    gpu.add_argument("--pull-smoke-image", action="store_true")


def _labelled(entries: Sequence[str], flag: str) -> dict[str, str]:
    found = {}
    for entry in entries:
        label, separator, value = entry.partition("=")
        if not (label and separator and value):
            raise UsageError(f"{flag} {entry}: expected LABEL=VALUE")
        found[label] = value
    return found


def _lists(entries: Sequence[str], flag: str) -> dict[str, tuple[str, ...]]:
    found = {label: tuple(filter(None, value.split(","))) for label, value in _labelled(entries, flag).items()}
    for label, values in found.items():
        if not values:
            raise UsageError(f"{flag} {label}=...: expected LABEL=VALUE[,VALUE]")
    return found


def _number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{flag} ...={text}: expected a number") from None


def _batch_limit(text: str) -> BatchLimit:
    batch, _, shards = text.partition(",")
    try:
        return BatchLimit(_positive(batch), _positive(shards))
    except ValueError:
        raise UsageError(f"--effective-batch-limit ...={text}: expected LABEL=BATCH,SHARDS") from None


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value
