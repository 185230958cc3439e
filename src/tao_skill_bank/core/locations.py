"""Determines whether a path of a spec is a URI, an archive or a local place."""

from pathlib import Path

from tao_skill_bank.core import plain_text
from tao_skill_bank.errors import RequestError

ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")


def absolute(name: str | Path) -> Path:
    """Return a local path made absolute, `~` and `~USER` expanded.

    Raises:
        RequestError: there is no such home folder, or no file can have this path.

    """
    try:
        path = Path(name).expanduser().absolute()
    except RuntimeError:
        home = Path(name).parts[0]
        message = f"The home folder of {home} is not known."
        fix = f"Write the path in full; a folder that is called {home} is ./{home}."
        raise RequestError.of("unknown_home", message, fix, path=str(name)) from None
    except FileNotFoundError:
        message = "The folder in which this command was started does not exist any more."
        raise RequestError.of(
            "no_working_directory", message, "Change to an existing folder.", path=str(name)
        ) from None
    if fault := plain_text.fault_of_path(str(path)):
        shown = plain_text.quoted(str(path))
        raise RequestError.of("invalid_path", f"The path {shown} {fault}.", "Give another path.", path=shown)
    return path


def is_uri(path: str) -> bool:
    """Tell whether a path names something that is not on this machine's file system."""
    return "://" in path


def is_archive(path: str) -> bool:
    """Tell whether a media path names a tar archive."""
    return path.endswith(ARCHIVE_ENDINGS)


def is_here(path: str | Path) -> bool:
    """Return whether something is at a path of this machine, as far as this user may look."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def nearest_existing(path: Path) -> Path:
    """Return `path` itself or its closest parent that exists."""
    candidates = [path.absolute(), *path.absolute().parents]
    return next(candidate for candidate in candidates if is_here(candidate))
