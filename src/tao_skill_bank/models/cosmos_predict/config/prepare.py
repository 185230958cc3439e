"""Spec of the prepare action: a captioned clip dataset in the layout of training."""

from typing import Literal

from tao_skill_bank.bank.parameters import parameter, spec_dataclass

TRAIN_SOURCE = "hf_dataset://nvidia/GR1-100"
TEST_SOURCE = "hf_dataset://nvidia/EVAL-175"


@spec_dataclass
class PrepareConfig:
    """Download or collect clips and captions, check every one, and write train and test folders."""

    source: str = parameter(
        TRAIN_SOURCE,
        doc="Training clips: hf_dataset://ORG/NAME[@REVISION], or a folder of mp4 files with captions.",
        min_length=1,
        automl=False,
        popular=True,
    )
    caption_source: Literal["auto", "csv", "txt", "json"] = parameter(
        "auto",
        doc="Where captions are: metadata.csv, NAME.txt or NAME.json next to or below; auto detects it.",
        automl=False,
    )
    caption_key: str = parameter(
        "prompt", doc="Column of the CSV file or key of a JSON caption that holds the text.", min_length=1, automl=False
    )
    prefix: str = parameter(
        "The robot arm is performing a task. ", doc="Prefix of every training caption.", automl=False, free_text=True
    )
    test_source: str | None = parameter(
        None,
        template=TEST_SOURCE,
        min_length=1,
        doc="Test pairs (NAME.txt and NAME.png): hf_dataset://ORG/NAME[@REVISION] or a folder; remove it for none.",
        automl=False,
        popular=True,
    )
    test_folder: str = parameter("gr1_object", doc="Folder of the test source with the pairs.", automl=False)
    min_frames: int = parameter(93, doc="Fewest frames of a usable clip; shorter ones are reported.", minimum=1)
    skip_unusable: bool = parameter(
        False, doc="Skip unusable clips instead of stopping; they are listed in either case.", automl=False
    )
    output_dir: str | None = parameter(
        None,
        doc="Folder that gets train/ and test/; the run directory's dataset/ by default.",
        min_length=1,
        automl=False,
    )
    results_dir: str | None = parameter(
        None, doc="Run directory; holds status.jsonl and the report.", min_length=1, automl=False
    )
