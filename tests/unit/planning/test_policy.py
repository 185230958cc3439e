from pathlib import Path
from shutil import copytree

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request
from tao_skill_bank.planning import policy

OFF = """
turn off AutoML
disable AutoML
no HPO
plain training
Please turn AutoML off
with AutoML off
no automl please
without AutoML
w/o hpo
skip the hyperparameter search
don't use AutoML
don’t use AutoML
dont use automl
do not run HPO
I don't want AutoML
no need for hyperparameter tuning
no need to tune
There is no need to search, train it
just train it
just fine-tune the model on my clips
automl_policy: off
automl=false
AutoML disabled
vanilla fine-tuning
I'd rather have a single training run
no hyper-parameter search
no sweeps, one run
train directly
turning off AutoML for this run
never use HPO here
I do not need any hyperparameter optimization
set automl to off
keep AutoML off
AutoML should be off
use plain training instead of AutoML
train without doing any HPO
avoid automl
not AutoML
Normally tune it, but this time no HPO
no tuning
please don't do hyperparameter tuning
direct training
I want regular training, not AutoML
opt out of automl
no more hpo
plain training, and enable gradient checkpointing
turn off AutoML and turn on checkpointing
turn off AutoML. LoRA tuning of the 8B model
no AutoML, full tuning
plain training; instruction tuning data
AutoML is disabled, tune the whole model
AutoML is not needed
AutoML isn't wanted
exclude automl
hold off on AutoML
only train once
don't tune it
don't tune the hyperparameters
AutoML should not be used
AutoML must not run
AutoML? No.
AutoML? No thanks.
No AutoML or HPO this time
please do not optimize the hyperparameters
I'm not interested in AutoML
there's no reason to use AutoML
Use the given hyperparameters, no search
Train with default hyperparameters only
Hyperparameters are fixed, only train
train once with these settings
only one trial, no search
manual training
nothing fancy, just a straightforward training run
don't run a search over learning rates
I dislike AutoML, leave it out
kein HPO
sans automl
desactiva AutoML
""".strip().splitlines()

AUTO = """
don't turn off AutoML
do not disable AutoML
never disable HPO
tune it
use AutoML
with HPO
please don't skip the hyperparameter search
not plain training
I don't want plain training
no plain training please
keep AutoML on
Turn on AutoML
run a sweep
fine-tune on my videos
plain training was bad, use AutoML
I usually turn off AutoML, but this time run HPO
do not leave out the sweep
without turning off AutoML
why not use AutoML
automl_policy: auto
fine tune for 3 epochs without a validation set
do full fine-tuning, no adapters
don't just train it
turn off logging and train
make sure AutoML isn't disabled
AutoML must not be off
the clips show turning cars; no left turns
fine-tuning off the shelf model
use automl no validation set
use the regular training set
ASHA with early stopping HPO
use AutoML with no wandb
do not enable wandb logging
Don't switch on torch.compile
tune the hyperparameters
enable AutoML
no tuning of the vision tower
there is no reason to disable AutoML
Not without AutoML
I can't do without AutoML
do a simple train/val split
train on standard run footage
find the best hyperparameters and use AutoML
optimize the learning rate
""".strip().splitlines()


@pytest.mark.parametrize("words", OFF)
def test_words_that_refuse_the_search_turn_it_off(words: str) -> None:
    assert policy.resolve(None, words).policy == "off"


@pytest.mark.parametrize("words", [*AUTO, ""])
def test_other_words_leave_the_search_on(words: str) -> None:
    assert policy.resolve(None, words).policy == "auto"


@pytest.mark.parametrize(("explicit", "words"), [("auto", "no HPO"), ("off", "tune it")])
def test_an_explicit_value_wins_over_the_words(explicit: policy.Policy, words: str) -> None:
    assert policy.resolve(explicit, words).policy == explicit


def request(action: str = "train", **fields: object) -> Request:
    return Request(skill="tao-finetune-cosmos-reason", action=action, **fields)  # type: ignore[arg-type]


def test_train_routes_to_automl_by_default_with_this_skill_dir() -> None:
    skill = catalog.find("tao-finetune-cosmos-reason")
    route, findings = policy.route(skill, request())
    assert (route.kind, route.skill, findings) == ("automl", "tao-skill-bank:tao-run-automl", [])
    assert route.skill_dir == str(skill.folder)


def test_the_reason_of_a_direct_route_quotes_the_words() -> None:
    route, _ = policy.route(catalog.find("cosmos-rl"), request(prompt="Fine-tune it. No HPO please."))
    assert route.kind == "direct"
    assert '"no hpo"' in route.reason


@pytest.mark.parametrize("action", ["evaluate", "quantize", "inference", "export"])
def test_other_actions_never_route_to_automl(action: str) -> None:
    route, _ = policy.route(catalog.find("cosmos-rl"), request(action, automl_policy="auto", prompt="use AutoML"))
    assert route.kind == "direct"


@pytest.mark.parametrize("broken", ["schemas/train.schema.json", "references/spec_template_train.yaml"])
@pytest.mark.parametrize("content", [None, "{ not parseable"])
def test_a_missing_or_broken_schema_falls_back_to_direct_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, content: str | None
) -> None:
    copytree(catalog.bank_root() / "skills", tmp_path / "skills")
    target = tmp_path / "skills" / "tao-finetune-cosmos-reason" / broken
    target.unlink() if content is None else target.write_text(content)
    monkeypatch.setenv("TAO_SKILL_BANK_PATH", str(tmp_path))
    route, findings = policy.route(catalog.find("cosmos-rl"), request())
    assert route.kind == "direct"
    assert [finding.severity for finding in findings] == ["warning"]
    assert findings[0].message == ("AutoML is enabled but not runnable for this model until schemas are generated")
