"""Converts a dataset into a new folder, which appears complete or not at all. The source is only read."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from tao_skill_bank.core import unfinished
from tao_skill_bank.data.convert import clip_folder, media_files, record_folder, sources, unused_files
from tao_skill_bank.data.convert.notes import LeftOut, Notes
from tao_skill_bank.data.convert.record_folder import RecordFolder
from tao_skill_bank.data.convert.sources import Source
from tao_skill_bank.data.convert.values import TARGETS, Episode, Options, RawRecord
from tao_skill_bank.data.media.clip_index import require_decoder
from tao_skill_bank.data.video_fps import refuse_overwriting
from tao_skill_bank.errors import BlockedError, ConflictError, RequestError

TEMPLATE_NAME = re.compile(r"\{(\w*)\}")
SCRATCH = ".scratch"


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        target: the new folder.
        format: what the source was read as.
        records: records, or clips.
        media: files of media.
        left_out: what the source has and the result does not.

    """

    target: str
    format: str
    records: int
    media: int
    left_out: tuple[LeftOut, ...]


def convert(source: Path, target: Path, options: Options | None = None) -> Conversion:
    """Convert `source` into the new folder `target`.

    Raises:
        ConflictError: the target exists, or lies inside the source.
        RequestError: the options do not fit the format.
        BlockedError: the source cannot be read, or records cannot be converted; all of them are listed.
        MissingExtraError: the format needs a module that is not installed.

    """
    options = options or Options()
    refuse_overwriting(source, target)
    found = sources.find(source)
    _check_target(source, target)
    _check_options(found, options)
    notes = Notes()
    work = unfinished.next_to(target)
    try:
        work.mkdir()
        records, media = _write(found, source, work, options, notes)
        if not records and not notes.num_problems:
            notes.problem("records_missing", f"{source} holds no records.", "Give data with records.", str(source))
        notes.raise_problems()
        if source.is_dir():
            unused_files.note(source, notes)
        shutil.rmtree(work / SCRATCH, ignore_errors=True)
        work.rename(target)
    except OSError as error:
        message = f"{source} cannot be converted to {target}: {error}."
        fix = "Make the source readable, and give a folder with space that can be written."
        raise BlockedError.of("files_unusable", message, fix, path=str(error.filename or target)) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Conversion(str(target), found.TITLE, records, media, notes.left_out)


def _write(source: Source, path: Path, work: Path, options: Options, notes: Notes) -> tuple[int, int]:
    """Write the records or clips; return how many, and how many media."""
    items = source.read(path, options, notes)
    first = next(items, None)
    if isinstance(first, Episode):
        return _write_episodes([first, *(item for item in items if isinstance(item, Episode))], work, options, notes)
    root = options.media_root or source.media_root(path)
    wanted = _names_in(source, path, options)
    media = media_files.of_root(root, lambda: set(wanted), work / SCRATCH, notes)
    folder = RecordFolder(work, options, media, notes)
    records = (item for item in chain([first], items) if isinstance(item, RawRecord))
    folder.write(records)
    return folder.num_records, folder.num_media


def _write_episodes(episodes: list[Episode], work: Path, options: Options, notes: Notes) -> tuple[int, int]:
    """Write records first, which are quick to refuse, then cut the clips."""
    notes.raise_problems()
    require_decoder()
    if options.target == "clips":
        clip_folder.write(episodes, work, notes)
        clip_folder.write_captions(episodes, work)
        return len(episodes), len(episodes)
    media = media_files.MediaFiles(work, notes)
    folder = RecordFolder(work, replace(options, conversations_key="conversations"), media, notes)
    folder.write(clip_folder.as_records(episodes, options))
    notes.raise_problems()
    clip_folder.write(episodes, work, notes)
    return folder.num_records, folder.num_media


def _names_in(source: Source, path: Path, options: Options) -> Iterator[str]:
    """Yield the names of media in a first pass, for those that lie in an archive."""
    items = source.read(path, options, Notes())
    return record_folder.media_names((item for item in items if isinstance(item, RawRecord)), options.conversations_key)


def _check_target(source: Path, target: Path) -> None:
    if not target.parent.is_dir():
        message = f"The folder {target.parent} does not exist."
        raise RequestError.of("target_folder_missing", message, "Create it, or give another target.", path=str(target))
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        message = f"{target} is inside {source}, which is only read."
        raise ConflictError.of("target_in_source", message, "Give a folder outside of it.", path=str(target))


def _check_options(source: Source, options: Options) -> None:
    if options.target not in TARGETS or options.target not in source.TARGETS:
        message = f"{source.TITLE[:1].upper()}{source.TITLE[1:]} cannot become '{options.target}'."
        raise RequestError.of("target_unknown", message, f"Use --to {' or '.join(source.TARGETS)}.", path="to")
    has_episodes = "clips" in source.TARGETS
    if has_episodes and options.target == "llava":
        _check_templates(options)
    elif options.question or options.answer:
        message = "A question template makes records of episodes, which are not converted here."
        raise RequestError.of("template_unused", message, "Leave --question and --answer out.", path="question")
    if options.camera and not has_episodes:
        message = f"--camera chooses among the videos of an episode; this is {source.TITLE}."
        raise RequestError.of("camera_unused", message, "Leave --camera out.", path="camera")
    if has_episodes and (options.columns or options.media_root or options.links):
        message = (
            "--column, --media-root and --media link are for records; clips of episodes are cut from their videos."
        )
        raise RequestError.of("option_unused", message, "Leave them out.", path="media")
    if options.columns and len(set(options.columns.values())) != len(options.columns):
        message = "One column is named for several keys."
        raise RequestError.of("columns_ambiguous", message, "Name each column once.", path="column")


def _check_templates(options: Options) -> None:
    texts = {"question": options.question, "answer": options.answer}
    example = '--question "What is the robot doing?" --answer "{task}"'
    if not all(text.strip() for text in texts.values()):
        message = "Episodes have no questions; records need a question and an answer."
        raise RequestError.of("template_missing", message, f"Give both, such as {example}.", path="question")
    for name, text in texts.items():
        if other := [found for found in TEMPLATE_NAME.findall(text) if found != "task"]:
            message = f"The {name} names {{{other[0]}}}; only {{task}} is filled in."
            raise RequestError.of("template_unknown", message, "Use {task}.", path=name, got=text)
    if not any(clip_folder.TASK in text for text in texts.values()):
        message = "Neither the question nor the answer holds {task}, so that all records would be the same."
        raise RequestError.of("template_constant", message, f"Use it, such as {example}.", path="answer")
