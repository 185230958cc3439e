"""URIs of object stores: s3://BUCKET/KEY, gs://BUCKET/KEY, hf://datasets/ORG/NAME[@REVISION]/PATH."""

import re
from pathlib import PurePosixPath

from tao_skill_bank.core import settings

SCHEMES = ("s3", "gs", "hf")
ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")
INPUTS = "inputs"  # folder of a run directory: one link per staged input
# A URI fragment that restricts the URI to the files named by an annotation file. It comes last.
NAMED_IN = "#named-in="
HUB_DATASET = re.compile(r"hf://datasets/[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[^/\s]+)?(/.*)?")
FILE_ENDING = re.compile(r"\.[A-Za-z0-9]{1,8}")


def scheme(path: str) -> str:
    """Return the scheme of a URI in lower case; empty for a local path."""
    name, separator, _ = path.partition("://")
    return name.lower() if separator else ""


def is_remote(path: str) -> bool:
    """Return whether a path names something in an object store."""
    return scheme(path) in SCHEMES


def is_archive(path: str) -> bool:
    """Return whether a path names a tar archive."""
    return path.endswith(ARCHIVE_ENDINGS)


def join(root: str, name: str) -> str:
    """Return the URI of a name below a root URI."""
    return f"{root.rstrip('/')}/{name}"


def parent(uri: str) -> str:
    """Return the URI of the parent folder."""
    return uri.rstrip("/").rpartition("/")[0]


def split_fragment(uri: str) -> tuple[str, str | None]:
    """Return a URI without its fragment, and the annotation file that the fragment names."""
    root, separator, annotation = uri.partition(NAMED_IN)
    return root, annotation if separator else None


def problem_of(uri: str) -> str | None:
    """Return what is wrong with a URI of a known scheme, as far as the name alone shows."""
    kind, rest = scheme(uri), uri.partition("://")[2]
    if NAMED_IN in uri or "\n" in uri:
        return "it contains invalid characters"
    if kind == "hf" and not HUB_DATASET.fullmatch(uri):
        return "expected hf://datasets/ORG/NAME[@REVISION]/PATH"
    if kind in ("s3", "gs") and not rest.strip("/"):
        return f"expected {kind}://BUCKET/PATH"
    return None


def staged_name(key: str, uri: str, *, is_folder: bool) -> str:
    """Return the link of an input, relative to the run directory, for the spec key that names it.

    A file keeps its suffix, which identifies its format; a folder or an unpacked archive has none.
    """
    ending = "" if is_folder else PurePosixPath(uri.rstrip("/")).suffix
    return f"{INPUTS}/{key}{ending if FILE_ENDING.fullmatch(ending) else ''}"


def scratch_folder(results_uri: str) -> str:
    """Return the local run directory of jobs whose results go to a URI; one folder per URI, so that jobs can resume."""
    import hashlib

    name = re.sub(r"[^\w.-]+", "-", results_uri.rstrip("/").rpartition("/")[2]).strip(".-") or "run"
    digest = hashlib.sha256(results_uri.rstrip("/").encode()).hexdigest()[:12]
    return str(settings.state_dir() / "runs" / f"{name}-{digest}")
