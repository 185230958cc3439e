"""The commands that lead on from a plan that findings block: corrected data first, where it needs some."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tao_skill_bank.cli.output import command
from tao_skill_bank.cli.request_options import Options, command_line, to_request
from tao_skill_bank.errors import TaoSkillsError

if TYPE_CHECKING:
    from tao_skill_bank.bank.skill_info import DatasetRole, DataSource
    from tao_skill_bank.contracts import Finding, Plan

RATES = "video_fps_"  # codes of records that a corrected copy of their file resolves
OWN_OPTIONS = ("train", "eval")


def after_blocked(options: Options, sealed: "Plan", blocking: Sequence["Finding"]) -> list[str]:
    """Return what to run next on a plan that findings block; nothing where overrides and copies do not suffice."""
    rates = [found for found in blocking if found.code.startswith(RATES)]
    others = [found for found in blocking if not found.code.startswith(RATES)]
    if not rates or not all(found.fix_set for found in others):
        return command_line(options).corrected(blocking)
    try:
        return _with_copies(options, sealed, rates, others)
    except TaoSkillsError:
        return []  # something else is wrong with the request, too, which a problem says


def _with_copies(
    options: Options, sealed: "Plan", rates: Sequence["Finding"], others: Sequence["Finding"]
) -> list[str]:
    """Return the commands that write corrected annotations, then the plan that reads them."""
    from tao_skill_bank.bank import catalog
    from tao_skill_bank.core import nested

    sources = catalog.find(sealed.job.skill).info.data_sources.get(sealed.job.action, {})
    fix = {path: value for found in others for path, value in found.fix_set.items()}
    commands: dict[str, None] = {}
    roles: set[str] = set()
    for found in rates:
        role, source = _of(sources, {path: nested.get(sealed.job.spec, path) for path in _annotations(sources)}, found)
        media = found.evidence["media"]
        if source is None or "copy" not in found.evidence or not Path(media).is_dir():
            return []  # an archive, or a store: the fix says what to do first
        copy = found.evidence["copy"]
        commands[command("data", "fix-video-fps", found.path, copy, "--media", media)] = None
        fix |= {str(source.annotation_path): copy, str(source.media_path): media}
        roles.add(role)
    kept = tuple(text for text in options.datasets if text.partition("=")[0] not in roles)
    options = replace(options, datasets=kept)
    if roles & set(to_request(options).datasets):
        return [*commands]  # the request file names the dataset, too
    return [*commands, *command_line(options, _without_datasets(sys.argv[1:], roles)).with_overrides(fix)]


def _annotations(sources: Mapping["DatasetRole", "DataSource"]) -> list[str]:
    return [source.annotation_path for source in sources.values() if source.annotation_path]


def _of(
    sources: Mapping["DatasetRole", "DataSource"], files: Mapping[str, object], found: "Finding"
) -> tuple[str, "DataSource | None"]:
    """Return the dataset whose annotations a finding is about."""
    for role, source in sources.items():
        if source.annotation_path and files[source.annotation_path] == found.path:
            return role, source
    return "", None


def _without_datasets(words: Sequence[str], roles: Collection[str]) -> list[str]:
    """Return a command line without the options that give some datasets."""
    named = {f"--{role}" for role in roles if role in OWN_OPTIONS}
    kept: list[str] = []
    rest = list(words)
    while rest:
        option, has_value, value = rest[0].partition("=")
        is_apart = option in (*named, "--dataset") and not has_value and len(rest) > 1
        group, rest = (rest[:2], rest[2:]) if is_apart else (rest[:1], rest[1:])
        given = group[1] if is_apart else value
        if option not in named and not (option == "--dataset" and given.partition("=")[0] in roles):
            kept += group
    return kept
