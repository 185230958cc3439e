"""Object stores through fsspec: list with sizes and checksums, read ranges, and write files.

Every method raises what the store's client raises; `store_errors` explains it.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.staging import places, store_errors

NUM_REQUESTS = 24  # concurrent requests; more do not help on one connection and only load the server
LIST_PAGE = 1000  # names per response
NUM_TRIES = 3  # per request, within a second
NAMES_PER_PAGE = 10  # looking up this many single names costs as much as listing a page
MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Entry:
    """One file of a store.

    Attributes:
        version: the store's id of this content: an ETag, a generation, a blob id. It changes with the content.
        checksum: `ALGORITHM:HEX` where the store reports one: md5, sha256, or git-sha1 (of git's blob format).

    """

    uri: str
    size: int
    version: str
    checksum: str = ""


class Store:
    """A store that uses only the generic fsspec interface."""

    def __init__(self, scheme: str, filesystem: Any) -> None:
        self.scheme = scheme
        self.filesystem = filesystem

    def entry(self, uri: str) -> Entry:
        """Return one file. Raises FileNotFoundError when there is none, IsADirectoryError for a folder."""
        info = self.filesystem.info(self.path(uri))
        if info["type"] != "file":
            raise IsADirectoryError(uri)
        return self._entry(uri, info)

    def entries(self, uris: Sequence[str]) -> dict[str, Entry]:
        """Return the existing files among the given URIs."""
        with ThreadPoolExecutor(min(NUM_REQUESTS, max(1, len(uris)))) as pool:
            return {entry.uri: entry for entry in pool.map(self._entry_or_none, uris) if entry}

    def below(self, uri: str) -> list[Entry]:
        """Return every file below a folder; empty when there is no such folder."""
        with suppress(FileNotFoundError):
            found = self.filesystem.find(self.path(uri), detail=True)
            root = self.path(uri).rstrip("/")
            return [
                self._entry(places.join(uri, path.removeprefix(root).lstrip("/")), info)
                for path, info in sorted(found.items())
                if not path.endswith("/") and path != root
            ]
        return []

    def pages(self, folder: str) -> Iterator[list[Entry]]:
        """Yield the files in a folder, one page of the store's listing at a time."""
        yield [
            self._entry(f"{self.scheme}://{path}", info)
            for info in self.filesystem.ls(self.path(folder), detail=True)
            if info["type"] == "file" and (path := str(info["name"]))
        ]

    def is_there(self, uri: str) -> bool:
        """Return whether anything exists at or below a URI."""
        return bool(self.filesystem.exists(self.path(uri)))

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Return bytes of a file."""
        data: bytes = self.filesystem.cat_file(self.path(entry.uri), start=start, end=end)
        return data

    def put(self, file: Path, uri: str) -> None:
        """Upload a local file, overwriting an existing one."""
        self.filesystem.put_file(str(file), self.path(uri))

    def write(self, data: bytes, uri: str) -> None:
        """Write bytes, overwriting an existing file."""
        self.filesystem.pipe_file(self.path(uri), data)

    def remove(self, uri: str) -> None:
        """Remove a file if it exists."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(self.path(uri))

    def path(self, uri: str) -> str:
        """Return the file system's path of a URI."""
        return uri.partition("://")[2]

    def _entry_or_none(self, uri: str) -> Entry | None:
        try:
            return self.entry(uri)
        except FileNotFoundError:
            self._require_container(uri)
            return None

    def _require_container(self, uri: str) -> None:
        """Raise when a file is missing because its bucket or repository does not exist."""

    def _entry(self, uri: str, info: dict[str, Any]) -> Entry:
        size, version = int(info["size"]), info.get("generation") or info.get("etag") or info.get("ETag")
        checksum = ""
        if info.get("md5Hash"):
            checksum = f"md5:{base64.b64decode(info['md5Hash']).hex()}"
        return Entry(uri, size, str(version or info.get("mtime") or info.get("updated") or size), checksum)


class Hub(Store):
    """Datasets of the Hugging Face Hub: content is identified by its git blob id, or by its sha256 for large files."""

    def entry(self, uri: str) -> Entry:
        """Return one file. Raises PermissionError for a gated dataset, which the client reports as missing."""
        try:
            return super().entry(uri)
        except FileNotFoundError as error:
            if "GatedRepo" in type(error.__cause__).__name__:
                raise PermissionError(f"{error.__cause__}") from error
            raise

    def read(self, entry: Entry, start: int, end: int) -> bytes:
        """Return bytes of a file without transferring the rest."""
        with self.filesystem.open(self.path(entry.uri), "rb", cache_type="none", size=entry.size) as file:
            file.seek(start)
            data: bytes = file.read(end - start)
            return data

    def _entry(self, uri: str, info: dict[str, Any]) -> Entry:
        large = info.get("lfs") or {}
        sha256, blob = large.get("sha256"), info.get("blob_id")
        checksum = f"sha256:{sha256}" if sha256 else f"git-sha1:{blob}" if blob else ""
        return Entry(uri, int(info["size"]), str(sha256 or blob), checksum)


class S3(Store):
    """S3 and compatible stores. Many names are looked up by listing pages, a few names one by one."""

    def entry(self, uri: str) -> Entry:
        bucket, key = self._split(uri)
        try:
            head = self.filesystem.call_s3("head_object", Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except FileNotFoundError:
            self._require_container(uri)  # a HEAD response has no body with the reason
            raise
        return self._entry_of(uri, head["ContentLength"], head["ETag"], head)

    def entries(self, uris: Sequence[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        folders: dict[str, list[str]] = {}
        for uri in uris:
            folders.setdefault(places.parent(uri), []).append(uri)
        single: list[str] = []
        for folder, names in folders.items():
            single += self._listed(folder, sorted(names), found)
        return {**found, **super().entries(single)}

    def below(self, uri: str) -> list[Entry]:
        root = f"{uri.rstrip('/')}/"
        return [entry for page in self._pages(root) for entry in page if not entry.uri.endswith("/")]

    def pages(self, folder: str) -> Iterator[list[Entry]]:
        return self._pages(f"{folder.rstrip('/')}/")

    def is_there(self, uri: str) -> bool:
        """Return whether anything exists at or below a URI, with one or two listing requests."""
        bucket, key = self._split(uri.rstrip("/"))
        prefix = f"{key}/" if key else ""
        answer = self.filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
        return bool(answer.get("Contents")) or bool(key and self._entry_or_none(uri.rstrip("/")))

    def _listed(self, folder: str, names: list[str], found: dict[str, Entry]) -> list[str]:
        """Look up names of one folder by listing from the first to the last; return the names not reached.

        A folder may contain millions of other files, so only as many pages are read as are worth it.
        """
        budget = len(names) // NAMES_PER_PAGE
        if not budget:
            return names
        wanted, reached = set(names), ""
        for page in self._pages(f"{folder}/", before=names[0]):
            found.update({entry.uri: entry for entry in page if entry.uri in wanted})
            reached = page[-1].uri
            budget -= 1
            if reached >= names[-1]:
                return []
            if not budget:
                return [name for name in names if name > reached]
        return []

    def _pages(self, root: str, before: str = "") -> Iterator[list[Entry]]:
        """Yield the files below a folder, one response at a time, starting at `before`."""
        bucket, prefix = self._split(root)
        more: dict[str, Any] = {}
        if before:
            more["StartAfter"] = self._split(before)[1][:-1]  # include the name itself
        while True:
            answer = self.filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=LIST_PAGE, **more)
            page = [
                self._entry_of(f"{self.scheme}://{bucket}/{item['Key']}", item["Size"], item["ETag"], {})
                for item in answer.get("Contents", ())
            ]
            if page:
                yield page
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def _require_container(self, uri: str) -> None:
        self.filesystem.call_s3("list_objects_v2", Bucket=self._split(uri)[0], MaxKeys=1)

    def _split(self, uri: str) -> tuple[str, str]:
        bucket, _, key = uri.partition("://")[2].partition("/")
        return bucket, key

    def _entry_of(self, uri: str, size: int, etag: str, head: dict[str, Any]) -> Entry:
        """Return an entry; a plain ETag is an md5, except for objects encrypted with a customer key."""
        etag = etag.strip('"')
        checksum = f"md5:{etag}" if MD5.fullmatch(etag) else ""
        if head.get("SSECustomerAlgorithm") or "kms" in str(head.get("ServerSideEncryption", "")):
            checksum = ""
        sha256 = head.get("ChecksumSHA256", "")
        if sha256 and "-" not in sha256:  # else it is a checksum of checksums of parts
            checksum = f"sha256:{base64.b64decode(sha256).hex()}"
        return Entry(uri, int(size), etag, checksum)


def _open_s3() -> Store:
    import s3fs

    settings = {
        "connect_timeout": 5,
        "read_timeout": 60,
        "max_pool_connections": NUM_REQUESTS,
        "retries": {"max_attempts": 0},  # s3fs retries by itself, and so do downloads and uploads
    }
    filesystem = s3fs.S3FileSystem(
        use_listings_cache=False, skip_instance_cache=True, config_kwargs=settings, session=_aws_session()
    )
    filesystem.retries = NUM_TRIES
    return S3("s3", filesystem)


def _aws_session() -> Any:
    """Return a new session, which reads the environment, with the service descriptions that this process has read."""
    from aiobotocore.session import AioSession

    session = AioSession()
    session.register_component("data_loader", _service_descriptions())
    return session


@cache
def _service_descriptions() -> Any:
    """Return the loader of AWS's service descriptions; reading them takes a tenth of a second."""
    import botocore.session

    return botocore.session.get_session().get_component("data_loader")


def _open_gs() -> Store:
    import gcsfs

    return Store("gs", gcsfs.GCSFileSystem(use_listings_cache=False, skip_instance_cache=True))


def _open_hub() -> Store:
    from huggingface_hub import HfFileSystem

    return Hub("hf", HfFileSystem(use_listings_cache=False, skip_instance_cache=True))


OPENERS: dict[str, Callable[[], Store]] = {"s3": _open_s3, "gs": _open_gs, "hf": _open_hub}


def of(uri: str) -> Store:
    """Return the store of a URI. Raises BlockedError when its client is not installed."""
    kind = places.scheme(uri)
    try:
        return OPENERS[kind]()
    except ImportError:
        raise store_errors.missing_extra(kind) from None


def relative(entries: Iterable[Entry], root: str) -> dict[str, Entry]:
    """Return entries by their names below a folder.

    Raises:
        BlockedError: a key points outside the folder.

    """
    prefix = f"{root.rstrip('/')}/"
    found = {entry.uri.removeprefix(prefix): entry for entry in entries}
    for name in found:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            message = f"A key below {root} points outside the folder: {name}"
            raise BlockedError.of("key_outside_root", message, "Rename that object, or remove it.", path=root)
    return found
