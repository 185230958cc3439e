"""Where a dataset root has its annotations and media: one folder with both."""

from pathlib import Path

ANNOTATIONS = "annotations.json"
ARCHIVES = ("videos.tar.gz", "images.tar.gz")  # media of a dataset root, next to its annotations


def annotations_in(root: str, name: str = ANNOTATIONS) -> str:
    """Return the annotation file of a dataset root: the named one, or JSON lines of that name."""
    path = f"{root}/{name}"
    return f"{path}l" if not Path(path).exists() and Path(f"{path}l").is_file() else path


def media_in(root: str) -> str:
    """Return what media of a dataset root are relative to: the root, or its only archive that is not unpacked there."""
    packed = [name for name in ARCHIVES if Path(root, name).is_file() and not Path(root, name.split(".")[0]).is_dir()]
    return f"{root}/{packed[0]}" if len(packed) == 1 else root
