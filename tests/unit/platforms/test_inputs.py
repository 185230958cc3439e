from runs import make_job

from tao_skill_bank.contracts import Input, Workload
from tao_skill_bank.platforms import inputs


def test_every_input_and_checkpoint_outside_the_run_directory_is_named_once(tmp_path):
    run = tmp_path / "run"
    given = (
        Input("train", "annotations", {"annotation_path": "/data/a.json", "media_path": "/data"}),
        Input("eval", "captioned_clips", {"path": "s3://lab/clips"}),
        Input("media", "media_file", {"path": "/pictures/first.png"}),
        Input("adapter", "adapter", {"path": str(run / "inputs" / "adapter")}),
    )
    workload = Workload(model="hf_model://ORG/NAME", resume_from="/runs/one/epoch_2", inputs=given)
    config = {"policy": {"model_name_or_path": "/models/base"}}
    job = make_job(run, workload=workload, config=config)
    assert inputs.paths(job) == ["/data", "/models/base", "/pictures/first.png", "/runs/one/epoch_2"]


def test_what_is_fetched_first_is_none_of_them(tmp_path):
    config = {"policy": {"model_name_or_path": "/state/models/hub/ORG--NAME"}}
    fetches = (("hf_model://ORG/NAME", "/state/models/hub/ORG--NAME"),)
    job = make_job(tmp_path / "run", workload=Workload(), config=config, fetches=fetches)
    assert inputs.paths(job) == []
