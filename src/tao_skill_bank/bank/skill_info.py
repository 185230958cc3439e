"""The format of `references/skill_info.yaml`: facts of a skill that no other layer has."""

from dataclasses import field
from typing import Annotated, Any, Literal

from tao_skill_bank.contracts import OMITTED_IF_EMPTY, Credential, MonitoringMetric, contract

DatasetRole = Literal["train", "eval", "calibration", "clips"]
OUTPUT = "output"  # in the name of a key: written, not read


@contract
class DatasetContract:
    """What every record and every dataset root must have."""

    required_fields: tuple[str, ...] = ()
    annotation_file: str = "annotations.json"


@contract
class Recipe:
    """Values that a mode uses for keys that the request does not set. `when` is a path that must be present."""

    set: dict[str, Any]
    when: str | None = None


@contract
class DataSource:
    """Spec keys that one dataset role fills, and whether the action needs it.

    A dataset is either annotations and media, which may be given separately, or one folder.
    """

    annotation_path: str | None = None
    media_path: str | None = None
    folder: str | None = None
    required: bool = True

    @property
    def keys(self) -> tuple[str, ...]:
        """The spec keys that the role fills."""
        return tuple(key for key in (self.annotation_path, self.media_path, self.folder) if key)


@contract
class ParentKeys:
    """Spec keys that a parent job fills.

    Attributes:
        checkpoint: gets the parent's selected checkpoint folder; with `resume`, only of a parent that did not train.
        adapter: set true when that folder is an adapter.
        base: gets the parent's model when that folder is an adapter.
        resume: gets the parent's newest resume checkpoint.
        adapters: gets a list with the parent's selected adapter folder, as {path, name}.
        run: gets the parent's run directory.
        copies: keys and groups copied from a training parent's spec, {key here: key there}; from another parent,
            those that it copied itself.
    """

    checkpoint: str | None = None
    adapter: str | None = None
    base: str | None = None
    resume: str | None = None
    adapters: str | None = None
    run: str | None = None
    copies: dict[str, str] = field(default_factory=dict)


@contract
class Inputs:
    """Spec keys of an action's inputs. `selective`: only the media that annotations name are fetched.

    `listed` are lists of objects, each with a path under the given key. `model` is the one of `models` that the action
    is about: a request may call it `model_name_or_path` in every action.
    """

    model: str | None = None
    models: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    listed: dict[str, str] = field(default_factory=dict)
    selective: dict[str, Any] = field(default_factory=dict)


@contract
class ActionResources:
    """What an action runs on: spec keys that count processes, None where it runs on one process or one node.

    Attributes:
        cpu: whether the action can run on a CPU. It permits one and never selects it. Unsaid, an action that loads no
            model can.

    """

    gpu_spec_key: str | None = None
    node_spec_key: str | None = None
    distributed: bool = True
    cpu: bool | None = None


@contract
class ActionInfo:
    """How one action runs: in `config` mode, the module reads only one config file."""

    summary: str
    mode: Literal["config"] = "config"
    command: str = ""
    config_format: Literal["toml", "yaml"] = "toml"
    module: str = ""
    results_keys: tuple[str, ...] = ("results_dir",)
    inputs: Inputs = field(default_factory=Inputs)
    outputs: tuple[str, ...] = ()
    upload_excludes: tuple[str, ...] = ()
    resources: ActionResources = field(default_factory=ActionResources)
    parent: ParentKeys = field(default_factory=ParentKeys)

    @property
    def may_use_cpu(self) -> bool:
        """Whether it can run on a CPU: as declared, else where it loads no model."""
        return not self.inputs.models if self.resources.cpu is None else self.resources.cpu


@contract
class AutomlEvaluation:
    """The action that scores a checkpoint before and after a search, and the metric of its summary that counts.

    Attributes:
        scores_base: whether it can score the model that a training starts from; false for one whose head is new.

    """

    action: str
    metric: str
    direction: Literal["minimize", "maximize"]
    scores_base: bool = True


@contract
class AutomlKeys:
    """Spec keys of the train action by which a search steers trainings.

    Attributes:
        epochs: all epochs of a training; its schedule spans them.
        batch: samples per data-parallel rank in one forward pass, or in one step where `accumulation` is absent.
        stop: ends a training after this many epochs without changing its schedule.
        steps: sets the length of a training in optimizer steps instead; a search refuses it.
        resume: true resumes from the newest checkpoint of the run directory. Without `stop` and `resume`, trainings
            cannot pause, so algorithms that pause them are not offered.
        micro_batch: must divide `batch`.
        accumulation: how many `batch`es make one optimizer step.
        evaluation: scores the base before a search and the best checkpoint after it.
        seed: of a training; the recipe with another one shows the noise of its score.

    """

    epochs: str
    batch: str
    stop: str | None = None
    steps: Annotated[str | None, OMITTED_IF_EMPTY] = None
    resume: str | None = None
    micro_batch: str | None = None
    accumulation: str | None = None
    evaluation: AutomlEvaluation | None = None
    seed: str | None = None


@contract
class SkillInfo:
    """A model skill's machine-readable facts. `monitoring_metric`: what searches and the selection of best/ follow."""

    network_arch: str
    package: str
    automl_enabled: bool
    dataset_type: str
    data_format: str
    actions: dict[str, ActionInfo]
    credentials: tuple[Credential, ...] = ()
    accepted_dataset_intents: tuple[Literal["training", "evaluation", "testing"], ...] = ()
    dataset_contract: DatasetContract = field(default_factory=DatasetContract)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    data_sources: dict[str, dict[DatasetRole, DataSource]] = field(default_factory=dict)
    spec_shorthand_keys: dict[str, str] = field(default_factory=dict)
    ignored_keys: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    huggingface_model_ids: tuple[str, ...] = ()
    container_image: str | None = None
    gpu_spec_key: str | None = None
    node_spec_key: str | None = None
    monitoring_metric: MonitoringMetric | None = None
    automl: AutomlKeys | None = None

    def input_keys(self, action: str) -> tuple[str, ...]:
        """Return the spec keys that each name one thing that an action reads."""
        sources = (key for source in self.data_sources.get(action, {}).values() for key in source.keys)
        inputs = self.actions[action].inputs
        keys = dict.fromkeys((*sources, *inputs.models, *inputs.media, *inputs.paths))
        return tuple(key for key in keys if OUTPUT not in key)
