"""Writes a new model skill that runs: a folder under skills/ and one under models/, from the templates of this room.

The model is a small video classifier, trained from scratch. Its author replaces what it computes and keeps what is
around it.
"""

import keyword
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from tao_skill_bank import models
from tao_skill_bank.errors import BlockedError, ConflictError, RequestError, UnknownNameError

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".jinja"
SKILL_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PACKAGE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
LONGEST_NAME = 64  # of the agent skills standard
GENERATE = (
    "import sys, tao_skill_bank.authoring.generated_files as g;"
    "from tao_skill_bank.bank import catalog;"
    "g.write(g.outputs_of(catalog.find(sys.argv[1])))"
)


@dataclass(frozen=True)
class DatasetWords:
    """How a kind of dataset is named in a spec: (key, meaning) of its paths, by the role that they serve."""

    words: str
    train: tuple[tuple[str, str], ...]
    val: tuple[tuple[str, str], ...]
    evaluate: tuple[tuple[str, str], ...]


def _folders(words: str) -> DatasetWords:
    return DatasetWords(
        words,
        train=(("train_dir", "Folder of the training clips."),),
        val=(("val_dir", "Folder of the validation clips."),),
        evaluate=(("eval_dir", "Folder of the clips to score."),),
    )


KINDS: Mapping[str, DatasetWords] = {
    "class_folders": _folders("a folder per class with its clips in it"),
    "captioned_clips": _folders("a folder of clips whose captions are their classes"),
    "annotations": DatasetWords(
        "records of a video and an answer, which is its class",
        train=(("train_annotations", "Records of the training clips."), ("train_media", "Folder of their videos.")),
        val=(("val_annotations", "Records of the validation clips."), ("val_media", "Folder of their videos.")),
        evaluate=(("eval_annotations", "Records of the clips to score."), ("eval_media", "Folder of their videos.")),
    ),
}


@dataclass(frozen=True)
class NewSkill:
    """What is to be written.

    Attributes:
        name: of the skill, such as tao-finetune-clip-classifier.
        package: of the model, such as clip_classifier.
        kind: of its datasets.
        bank: folder that holds skills/.
        source: folder that holds tao_skill_bank/models/.

    """

    name: str
    package: str
    kind: str
    bank: Path
    source: Path

    @property
    def skill_folder(self) -> Path:
        return self.bank / "skills" / self.name

    @property
    def model_folder(self) -> Path:
        return self.source / "tao_skill_bank" / "models" / self.package


def write(wanted: NewSkill) -> list[Path]:
    """Write both folders, generated files included, and return every file in them.

    Raises:
        RequestError: a name that the standard or Python does not allow.
        UnknownNameError: there are no templates for this kind of dataset.
        ConflictError: one of the folders exists, or a model of this name is installed.
        BlockedError: the bank has no skills/, a folder cannot be written, or the generated files could not be made;
            nothing is left behind.

    """
    _require_valid(wanted)
    try:
        _render(wanted)
        _generate(wanted)
    except (OSError, BlockedError) as error:
        for folder in (wanted.skill_folder, wanted.model_folder):
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, BlockedError):
            raise
        message = f"{error.filename} cannot be written: {error.strerror}."
        fix = "Name folders that can be written: --bank FOLDER --source FOLDER"
        raise BlockedError.of("not_written", message, fix, path=str(error.filename)) from None
    return sorted(path for folder in (wanted.skill_folder, wanted.model_folder) for path in _files(folder))


def _render(wanted: NewSkill) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, TEMPLATES / "kinds"]),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
    )
    for template, target in _targets(wanted):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(environment.get_template(template).render(_values(wanted)), encoding="utf-8")


def _require_valid(wanted: NewSkill) -> None:
    if not SKILL_NAME.fullmatch(wanted.name) or len(wanted.name) > LONGEST_NAME:
        message = f"'{wanted.name}' cannot be the name of a skill."
        fix = f"Use at most {LONGEST_NAME} lowercase letters, digits and single hyphens, such as tao-finetune-clips."
        raise RequestError.of("invalid_skill_name", message, fix, path="name", got=wanted.name)
    if not PACKAGE_NAME.fullmatch(wanted.package) or keyword.iskeyword(wanted.package):
        message = f"'{wanted.package}' cannot be the name of a package."
        fix = "Use at most 64 lowercase letters, digits and underscores, with a letter first and no keyword of Python, "
        fix += "such as clip_classifier."
        raise RequestError.of("invalid_package_name", message, fix, path="--package", got=wanted.package)
    if wanted.kind not in KINDS:
        message = f"There are no templates for datasets of kind '{wanted.kind}'."
        raise UnknownNameError.of("unknown_kind", message, f"Use one of: {', '.join(KINDS)}.", path="--kind")
    if not (wanted.bank / "skills").is_dir():
        message = f"{wanted.bank} is not a skill bank: it has no skills/ folder."
        raise BlockedError.of("no_bank", message, "Name a folder that has one: --bank FOLDER", path="--bank")
    installed = (Path(root) / wanted.package for root in models.__path__)
    for folder in (wanted.skill_folder, wanted.model_folder, *installed):
        if os.path.lexists(folder):
            message = f"{folder} exists already; nothing was written."
            raise ConflictError.of("folder_exists", message, "Choose another name, or move it away.", path=str(folder))


def _values(wanted: NewSkill) -> dict[str, Any]:
    words = KINDS[wanted.kind]
    arch = wanted.name.removeprefix("tao-finetune-")
    return {
        "skill": wanted.name,
        "package": wanted.package,
        "kind": wanted.kind,
        "arch": arch,
        "title": arch.replace("-", " ").capitalize(),
        "data_words": words.words,
        "train_paths": words.train,
        "val_paths": words.val,
        "eval_paths": words.evaluate,
    }


def _targets(wanted: NewSkill) -> Iterator[tuple[str, Path]]:
    """Yield every template with the file that it becomes."""
    for part, folder in (("skill", wanted.skill_folder), ("model", wanted.model_folder)):
        for path in sorted((TEMPLATES / part).rglob(f"*{SUFFIX}")):
            name = path.relative_to(TEMPLATES / part).as_posix().removesuffix(SUFFIX)
            yield path.relative_to(TEMPLATES).as_posix(), folder / name
    yield f"kinds/{wanted.kind}/dataset.py{SUFFIX}", wanted.model_folder / "dataset.py"


def _generate(wanted: NewSkill) -> None:
    """Write schemas, templates and tables, in a child process: only a fresh one finds the new package everywhere."""
    paths = [str(wanted.source), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TAO_SKILL_BANK_PATH": str(wanted.bank)}
    command = [sys.executable, "-c", GENERATE, wanted.name]
    child = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if child.returncode != 0:
        reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        message = f"The schemas of {wanted.name} could not be generated: {reason}"
        raise BlockedError.of("not_generated", message, "Correct the cause, then write the skill again.")


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
