"""Checks that the media a dataset names exist inside its root. Each folder is listed once; no file is asked for."""

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core import hashes, locations
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, listed, not_checked
from tao_skill_bank.data.archive import Listing
from tao_skill_bank.data.near_names import difference, near_misses
from tao_skill_bank.data.records.reader import media_of
from tao_skill_bank.data.scan import Scan, records_at

StoredNames = Callable[[Sequence[str]], "array[int] | None"]


def check(
    scan: Scan,
    listing: Listing | None,
    is_stored: Callable[[str], bool] = lambda _: False,
    stored_names: StoredNames = lambda _: None,
) -> list[Finding]:
    """Return the findings on a dataset's media.

    Args:
        scan: what its annotations name.
        listing: that of its archive, if it has one.
        is_stored: that of `kinds.Context`.
        stored_names: that of `kinds.Context`.

    """
    if scan.failure or not (scan.media or scan.num_remote_media):
        return []
    path = scan.media_path
    if is_stored(path) and not scan.num_remote_media:
        return [*_outside(scan), *_remote(scan, stored_names)]
    if locations.is_uri(path) or scan.num_remote_media:
        message = f"Media of {scan.annotation_path} lie behind a URI; their existence was not checked."
        return [not_checked("media_remote", message, "Name media relative to their folder.", path)]
    return _local(scan, path, listing)


def _local(scan: Scan, path: str, listing: Listing | None) -> list[Finding]:
    if not Path(path).exists():
        message = f"Media path {path} does not exist."
        return [blocking("media_path_missing", message, "Give the folder or archive that holds the media.", path)]
    if listing:
        problems = [*_archive_problems(path, listing), *_outside(scan)]
        return [*problems, *_missing_from_archive(scan, listing), *_repeated(scan, path, listing)]
    if not Path(path).is_dir():
        message = f"Media path {path} is neither a folder nor a tar archive."
        return [blocking("media_path_kind", message, "Give a folder, videos.tar.gz or images.tar.gz.", path)]
    return [*_outside(scan), *_missing(scan, _existing(scan.folders))]


def _archive_problems(path: str, listing: Listing) -> list[Finding]:
    if listing.error:
        message = f"Archive {path} cannot be read: {listing.error}."
        return [blocking("archive_unreadable", message, "Write the archive again.", path)]
    found = []
    if listing.unsafe:
        message = f"Archive {path} holds links, absolute paths or '..': {listed(listing.unsafe)}."
        fix = "Pack it again with plain files and relative names only (tar --dereference)."
        found.append(blocking("archive_unsafe", message, fix, path, members=listing.unsafe[:MAX_LISTED]))
    if not listing.is_complete:
        message = f"Archive {path} was not read to its end in time; missing media were not looked for."
        found.append(not_checked("archive_not_listed", message, "Unpack it and give the folder.", path))
    return found


def _outside(scan: Scan) -> list[Finding]:
    """Return the finding on names that leave the root: `../` and absolute paths elsewhere."""
    root = scan.media_root
    is_folder = Path(root).is_dir()
    outside = sorted(folder for folder in scan.folders if not _is_inside(folder, root, is_folder=is_folder))
    if not outside:
        return []
    folders = {folder.removeprefix(f"{root}/") for folder in outside}
    message = f"Media names in {scan.annotation_path} leave {scan.media_path}: {listed(sorted(folders))}."
    fix = f"Name media relative to {scan.media_path} and inside it, or give their common folder as media path."
    return [blocking("media_outside_root", message, fix, scan.annotation_path, folders=sorted(folders)[:MAX_LISTED])]


def _is_inside(folder: str, root: str, *, is_folder: bool) -> bool:
    if locations.is_uri(root):
        return f"{folder}/".startswith(f"{root}/") and ".." not in folder.split("/")
    if not is_folder and ".." in PurePosixPath(folder.removeprefix(root)).parts:
        return False  # an archive is unpacked under another name
    lexical = os.path.normpath(folder)
    return any(path == root or path.startswith(f"{root}/") for path in (lexical, os.path.realpath(folder)))


def _existing(folders: Iterable[str]) -> "array[int]":
    """Return the hash of every file in some folders, spelled as the annotation spells the folder."""
    found = hashes.new()
    for folder in folders:
        try:
            with os.scandir(folder or "/") as entries:
                found.extend(hash(f"{folder}/{entry.name}") for entry in entries if entry.is_file())
        except OSError:
            continue  # its files are reported as missing
    return found


def _remote(scan: Scan, stored_names: StoredNames) -> list[Finding]:
    """Compare with the names that the store lists, unless they are too many to be asked for."""
    path = scan.media_path
    existing = None if locations.is_archive(path) else stored_names(sorted(scan.folders))
    if existing is None:
        message = f"Whether {path} has all media of {scan.annotation_path} is seen when they are staged."
        fix = f"To have them checked first: tao-skills data stage {path} FOLDER, then name the folder."
        return [not_checked("media_remote", message, fix, path)]
    if missing := _missing(scan, existing):
        return missing
    message = f"{path} has all media of {scan.annotation_path}; they are decoded where the job runs."
    return [info("media_remote", message, path)]


def _missing_from_archive(scan: Scan, listing: Listing) -> list[Finding]:
    if listing.error or not listing.is_complete:
        return []
    return _missing(scan, listing.names)


def _repeated(scan: Scan, path: str, listing: Listing) -> list[Finding]:
    """Return the finding on media whose name several members of the archive have."""
    twice = {listing.names[position] for position in hashes.repeated(listing.names)}
    users = [record for each, record in zip(scan.media, scan.media_records, strict=True) if each in twice]
    if not users:
        return []
    records, num_records = hashes.first_distinct(users, MAX_LISTED)
    message = (
        f"Archive {path} has several files of one name, which records show (record {listed(records, num_records)})."
    )
    fix = f"Pack it again with one file per name; tar tf {path} | sort | uniq -d lists them."
    return [blocking("archive_names_repeat", message, fix, path, records=records)]


def _missing(scan: Scan, existing: "array[int]") -> list[Finding]:
    positions = hashes.positions_in(scan.media, existing, present=False)
    if not positions:
        return []
    records, num_records = hashes.first_distinct((scan.media_records[position] for position in positions), MAX_LISTED)
    shown = records_at(scan.annotation_path, records)
    absent = {scan.media[position] for position in positions[: 2 * MAX_LISTED]}
    media = (item for record in shown.values() for item in media_of(record, scan.rules.conversations_key))
    names = [name for item in media for name in item.files if hash(scan.path_of(name)) in absent]
    path = scan.annotation_path
    told = listed(names[:MAX_LISTED], len(positions))
    where = listed(records, num_records)
    message = f"{len(positions)} media of {path} are not in {scan.media_path}: {told} (record {where})."
    fix = "Correct the names or the media path, add the files, or drop the records."
    if near := near_misses(Path(scan.media_root), names[:MAX_LISTED]):
        said = [f"{name!a} is {file!a} there (it differs {difference(name, file)})" for name, file in near.items()]
        message += f" {listed(said)}."
        fix = "Write the names as the files have them, or rename the files: mv FILE NAME."
    return [blocking("media_missing", message, fix, path, files=names[:MAX_LISTED], count=len(positions))]
