from dataclasses import replace

import pytest
from runs import make_job

from tao_skill_bank.bank import catalog, images
from tao_skill_bank.contracts import PlatformRequest, Request, Resources
from tao_skill_bank.errors import BlockedError, RequestError, UnknownNameError
from tao_skill_bank.planning import dispatch

SKILL = catalog.find("tao-finetune-cosmos-reason")
UPSTREAM = images.known()["cosmos-rl"].image
OURS = images.known()[images.OUR_OWN].image
HUB = "hf_model://nvidia/Cosmos-Reason2-8B"


def job_of(image=None, action="train", model=HUB):
    key = SKILL.action(action).inputs.models[0]
    group, _, leaf = key.partition(".")
    fetches = ((model, "/state/models/x"),) if "://" in model else ()
    spec, config = ({group: {leaf: value}} for value in (model, "/state/models/x" if fetches else model))
    platform = PlatformRequest("docker")
    return make_job(
        "/run",
        id="cosmos-rl-train-0123456789ab",
        action=action,
        spec=spec,
        config=config,
        fetches=fetches,
        image=image,
        platform=platform,
    )


def choose(job):
    return images.choose(job, SKILL, runs_in_image=True)


def test_every_skill_names_an_image_that_is_known():
    for skill in catalog.skills():
        if skill.runs_actions:
            assert images.of_skill(skill) in images.known().values()


def test_every_image_of_the_bank_tells_how_it_is_brought_to_a_machine():
    for image in images.known().values():
        assert image.image in image.get


def test_our_own_image_is_built_by_a_file_of_this_repository(project_root):
    words = images.known()[images.OUR_OWN].get.split()
    assert (project_root / words[words.index("--file") + 1]).is_file()


@pytest.mark.parametrize(
    ("name", "image", "command"),
    [
        ("tao-skill-bank", OURS, None),
        ("cosmos-rl", UPSTREAM, "cosmos-rl"),
        (UPSTREAM, UPSTREAM, "cosmos-rl"),
        ("cosmos-rl=mirror/cosmos-rl:7", "mirror/cosmos-rl:7", "cosmos-rl"),
        ("/images/a=b.sqsh", "/images/a=b.sqsh", None),
        ("lab/trainers@sha256:00ff", "lab/trainers@sha256:00ff", None),
    ],
)
def test_a_key_an_image_or_both_name_an_image_and_what_it_runs(name, image, command):
    found = images.resolve(name)
    assert (found.image, found.commands.get("train")) == (image, command and (command,))


def test_a_key_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError) as error:
        images.resolve("cosmos-rI=mirror/x:1")
    assert "Did you mean 'cosmos-rl'?" in error.value.problems[0].message


def test_a_platform_without_containers_leaves_the_job_alone():
    assert images.choose(job_of(), SKILL, runs_in_image=False) == (job_of(), [])


def test_a_skills_own_image_stops_a_run_until_it_is_confirmed():
    job, (found,) = choose(job_of())
    assert job.image == UPSTREAM
    assert (found.code, found.severity, found.blocks_run, found.path) == ("image_unconfirmed", "warning", True, "image")
    assert "--image cosmos-rl" in found.fix
    assert choose(job_of("cosmos-rl"))[1] == []


def test_our_own_image_runs_the_module_with_models_that_are_fetched_first():
    job, findings = choose(job_of("tao-skill-bank"))
    assert (job.image, job.command, findings) == (OURS, (), [])
    assert job.fetches
    assert job.config == job_of().config


def test_an_image_with_commands_of_its_own_loads_hub_models_by_itself():
    job, _ = choose(job_of("cosmos-rl", "evaluate"))
    assert (job.command, job.fetches) == (("cosmos-rl-evaluate",), ())
    assert job.config["model"]["model_name"] == "nvidia/Cosmos-Reason2-8B"


def test_a_model_folder_stays_as_it_is_in_every_image():
    assert choose(job_of("cosmos-rl", model="/models/mine"))[0].config == job_of(model="/models/mine").config


@pytest.mark.parametrize(
    ("action", "model", "path"),
    [
        ("export", "/models/mine", "image"),
        ("train", "builtin://tiny-cosmos-reason", "policy.model_name_or_path"),
        ("train", f"{HUB}@refs/pr/1", "policy.model_name_or_path"),
    ],
)
def test_what_a_foreign_image_cannot_do_is_refused_with_the_way_out(action, model, path):
    with pytest.raises(RequestError) as error:
        choose(job_of("cosmos-rl", action, model))
    (problem,) = error.value.problems
    assert problem.path == path
    assert "--image tao-skill-bank" in problem.fix


def test_a_foreign_image_stages_no_data():
    job = job_of("cosmos-rl")
    job = replace(job, fetches=(*job.fetches, ("s3://bucket/train", "/run/inputs/train")))
    with pytest.raises(RequestError) as error:
        choose(job)
    assert [problem.code for problem in error.value.problems] == ["storage_not_in_image"]


def test_a_foreign_image_is_not_started_on_several_nodes():
    job = replace(job_of("cosmos-rl"), resources=Resources(nodes=2))
    with pytest.raises(RequestError) as error:
        choose(job)
    assert [problem.code for problem in error.value.problems] == ["nodes_not_in_image"]


def test_a_bank_without_a_list_of_images_knows_none(tmp_path, monkeypatch):
    (tmp_path / "skills").mkdir()
    monkeypatch.setenv("TAO_SKILL_BANK_PATH", str(tmp_path))
    assert images.known() == {}
    assert images.resolve("a/b:1").image == "a/b:1"
    with pytest.raises(UnknownNameError):
        images.of_skill(SKILL)


def test_a_skills_own_image_is_shown_by_a_plan_and_run_only_from_a_sealed_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # without docker
    request = Request(
        "tao-finetune-cosmos-predict",
        "prepare",  # which loads no model
        overrides={"source": str(tmp_path)},
        platform=PlatformRequest("docker"),
    )
    planned = dispatch.plan(request)
    assert planned.job.image == OURS
    with pytest.raises(BlockedError) as error:
        dispatch.run(planned)
    assert "image_unconfirmed" in [problem.code for problem in error.value.problems]
    again = dispatch.look_again(planned)
    assert "docker_missing" in [found.code for found in again]
    assert "image_unconfirmed" not in [found.code for found in again]
