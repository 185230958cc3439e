"""On which file system of this machine a path lies, and whether other machines may see the same one."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from tao_skill_bank.core import locations

# Types of a disk or the memory of one machine; those of a network and unknown ones may be shared.
OWN_TYPES = frozenset((
    "apfs", "btrfs", "devtmpfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "jfs", "ntfs", "overlay", "ramfs",
    "reiserfs", "squashfs", "tmpfs", "ufs", "vfat", "xfs", "zfs",
))  # fmt: skip
EXPORTS = Path("/etc/exports")


@dataclass(frozen=True)
class Mounted:
    """A file system of this machine: its type, and where it is mounted."""

    type: str
    place: str

    def __str__(self) -> str:
        return f"{self.type} at {self.place}"


def own(path: str) -> Mounted | None:
    """Return the file system of `path`, or of its closest parent that exists, where only this machine has it.

    None where other machines may mount it: one of a network, or one that this machine exports by NFS.
    """
    real = PurePosixPath(os.path.realpath(locations.nearest_existing(Path(path))))
    parents = {str(parent): depth for depth, parent in enumerate([real, *real.parents])}
    found: Mounted | None = None
    for partition in psutil.disk_partitions(all=True):
        depth = parents.get(partition.mountpoint)
        if depth is not None and (found is None or depth <= parents[found.place]):  # the last one covers others
            found = Mounted(partition.fstype, partition.mountpoint)
    if found is None or found.type.lower() not in OWN_TYPES or any(f"{real}/".startswith(each) for each in _exported()):
        return None
    return found


def _exported() -> list[str]:
    """Return the folders that this machine exports by NFS, each with a slash at its end."""
    try:
        lines = EXPORTS.read_text(encoding="utf-8", errors="replace").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
    except (OSError, ValueError):
        return []
    return [f"{each[0].rstrip('/')}/" for each in words if each and each[0].startswith("/")]
