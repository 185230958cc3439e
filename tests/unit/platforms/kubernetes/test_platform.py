import json
from pathlib import Path

import pytest
from fake_controllers import now as now_text
from kubernetes_jobs import JOB, manifests
from runs import eventually, make_plan, make_record

from tao_skill_bank.contracts import Credential, Resources, State
from tao_skill_bank.errors import BackendError, BlockedError, ConflictError
from tao_skill_bank.jobs import service
from tao_skill_bank.platforms.kubernetes.platform import PLATFORM


@pytest.fixture
def cluster(kubernetes_cluster):
    return kubernetes_cluster


@pytest.fixture
def job(kubernetes_jobs):
    return kubernetes_jobs


# --- submit -------------------------------------------------------------------------------------------------------


def submit(made):
    return PLATFORM.submit(make_plan(made, "kubernetes"))


def test_a_submission_makes_what_the_job_owns_and_starts_it_last(cluster, job):
    reference = submit(job(resources=Resources(nodes=2, device="cpu"), distributed=True))
    assert reference["uid"] == cluster.find("Job", JOB)["metadata"]["uid"]
    assert reference["namespace"] == "lab"
    for kind in ("ConfigMap", "Service"):
        (owner,) = cluster.find(kind, JOB)["metadata"]["ownerReferences"]
        assert owner["uid"] == reference["uid"]
    done = [(method, path.split("/")[-1].split("?")[0]) for method, path in cluster.requests if "dryRun" not in path]
    made = [found for found in done if found[0] in ("POST", "PATCH")]
    assert made == [("POST", "jobs"), ("POST", "configmaps"), ("POST", "services"), ("PATCH", JOB)]
    first_kept = next(
        n for n, (method, path) in enumerate(cluster.requests) if method == "POST" and "dryRun" not in path
    )
    assert sum("dryRun=All" in path for _, path in cluster.requests[:first_kept]) == 4


def test_what_is_sent_is_what_was_rendered(cluster, job):
    made = job()
    plan = make_plan(made, "kubernetes")
    PLATFORM.submit(plan)
    config_map, rendered = manifests(plan)
    sent = cluster.find("Job", JOB)
    assert sent["spec"] == {**rendered["spec"], "suspend": False}
    assert cluster.find("ConfigMap", JOB)["data"] == config_map["data"]


def test_a_name_that_is_taken_is_a_conflict_and_nothing_is_touched(cluster, job):
    cluster.put("ConfigMap", JOB, data={"mine": "x"})
    with pytest.raises(ConflictError) as error:
        submit(job())
    assert error.value.problems[0].code == "job_name_taken"
    assert cluster.find("ConfigMap", JOB)["data"] == {"mine": "x"}
    assert cluster.find("Job", JOB) is None


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "services"), ("create", "configmaps"), ("create", "jobs"), ("patch", "jobs")],
)
def test_a_missing_right_is_told_with_its_command_and_leaves_nothing(cluster, job, verb, resource):
    made = job(resources=Resources(nodes=2, device="cpu"), distributed=True)
    with cluster.deny(verb, resource), pytest.raises(BackendError) as error:
        submit(made)
    (problem,) = error.value.problems
    assert (error.value.exit_code, problem.code) == (4, "credential_forbidden")
    assert f"jane may not {verb} {resource}" in problem.message
    assert f"--verb={verb}" in problem.fix
    assert "--user=jane" in problem.fix
    assert nothing_left(cluster)


def nothing_left(cluster):
    return eventually(lambda: cluster.names("Job", "Pod", "Service", "ConfigMap") == [])


def test_an_account_that_may_not_make_pods_may_submit_all_the_same(cluster, job):
    with cluster.deny("create", "pods"):
        assert submit(job())["uid"]


def test_a_missing_image_is_one_error_and_leaves_nothing(cluster, job):
    cluster.missing_images.add("registry/image:1")
    with pytest.raises(BlockedError) as error:
        submit(job())
    (problem,) = error.value.problems
    assert (problem.code, problem.path) == ("image_missing", "image")
    assert "registry/image:1: not found" in problem.message
    assert nothing_left(cluster)


def test_a_secret_without_the_key_is_one_error_and_leaves_nothing(cluster, job):
    cluster.put_secret("tokens", OTHER="x")
    with pytest.raises(BlockedError) as error:
        submit(job({"secret": "tokens"}, credentials=(Credential("HF_TOKEN"),)))
    assert error.value.problems[0].code == "secret_missing"
    assert "HF_TOKEN" in error.value.problems[0].message
    assert nothing_left(cluster)


def test_a_quota_that_the_second_pod_hits_is_one_error_and_leaves_nothing(cluster, job):
    cluster.quota = {"pods": 1}
    with pytest.raises(BlockedError) as error:
        submit(job(resources=Resources(nodes=2, device="cpu"), distributed=True))
    assert error.value.problems[0].code == "quota_reached"
    assert nothing_left(cluster)


def test_a_pod_that_waits_for_a_node_is_no_error(cluster, job):
    cluster.put_node("n1")
    made = job(resources=Resources(device="cuda"))
    record = make_record(made, platform="kubernetes", backend_ref=submit(made))
    now = PLATFORM.status(record)
    assert now.state is State.PENDING
    assert "Insufficient nvidia.com/gpu" in now.message


def test_a_lost_answer_is_found_by_the_name_and_never_sent_again(cluster, job):
    cluster.lost_answers.append("Job")
    reference = submit(job())
    assert reference["uid"] == cluster.find("Job", JOB)["metadata"]["uid"]
    sent = [
        path for method, path in cluster.requests if method == "POST" and path.endswith("/jobs?fieldValidation=Strict")
    ]
    assert len(sent) == 1


@pytest.mark.parametrize("kind", ["Job", "ConfigMap"])
def test_a_request_that_was_lost_leaves_nothing_behind(cluster, job, kind):
    cluster.lost_requests.append(kind)
    with pytest.raises(BackendError) as error:
        submit(job())
    assert error.value.problems[0].code == "kubernetes_submit_lost"
    assert nothing_left(cluster)


def test_a_job_in_a_queue_stays_suspended_until_it_is_admitted(cluster, job):
    made = job({"queue": "team"})
    record = make_record(made, platform="kubernetes", backend_ref=submit(made))
    assert cluster.find("Job", JOB)["spec"]["suspend"] is True
    now = PLATFORM.status(record)
    assert (now.state, now.message) == (State.PENDING, "Waits until queue team admits it.")


def test_a_train_job_is_sent_started_and_found_again(cluster, job):
    cluster.has_trainer = True
    made = job({"resource": "trainjob"}, resources=Resources(nodes=2, device="cpu"), distributed=True)
    del made.platform.options["grace_seconds"]
    record = make_record(made, platform="kubernetes", backend_ref=submit(made))
    assert PLATFORM.status(record).state is State.RUNNING
    PLATFORM.cancel(record)
    assert nothing_left(cluster)


# --- status -------------------------------------------------------------------------------------------------------


@pytest.fixture
def record(job):
    made = job()
    Path(made.results_dir, "logs").mkdir(parents=True)
    return make_record(made, platform="kubernetes", backend_ref=submit(made))


def ended(cluster, condition, reason="", *, code=None, how=""):
    """Set how the Job ended, and what is left of its pod."""
    with cluster.lock:
        (pod,) = cluster.all("Pod")
        finished = {"exitCode": code, "reason": how or "Error", "finishedAt": "2026-01-01T00:00:00Z", "message": ""}
        status = {"phase": "Succeeded" if code == 0 else "Failed", "conditions": []}
        if code is not None:
            status["containerStatuses"] = [{"state": {"terminated": finished}}]
        if how == "disrupted":
            status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "message": "preempted by another"}]
        pod["status"] = status
        job = cluster.find("Job", JOB)
        told = {"type": condition, "status": "True", "reason": reason, "message": "said so"}
        job["status"] = {"conditions": [{**told, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}


def say(record, **line):
    Path(record.results_dir, "logs", "job.log").touch()
    with Path(record.results_dir, "status.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_a_pod_that_runs_is_running_and_one_that_waits_is_not(cluster, record):
    assert PLATFORM.status(record).state is State.RUNNING
    cluster.controllers.stop()
    (pod,) = cluster.all("Pod")
    pod["status"] = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
    cluster.find("Job", JOB)["status"] = {"active": 1, "ready": 0}
    now = PLATFORM.status(record)
    assert (now.state, now.message) == (State.PENDING, "Waits for its pods: ContainerCreating")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "reason", "how", "expected"),
    [
        (1, "PodFailurePolicy", "", ("ERROR", "ERR_PROGRAM", 1)),
        (137, "PodFailurePolicy", "OOMKilled", ("ERROR", "ERR_PROGRAM", 137)),
        (75, "BackoffLimitExceeded", "", ("ERROR", "ERR_INFRA", 75)),
        (76, "BackoffLimitExceeded", "", ("ERROR", "ERR_INFRA", None)),
        (137, "BackoffLimitExceeded", "disrupted", ("ERROR", "ERR_INFRA", None)),
        (137, "DeadlineExceeded", "", ("ERROR", "ERR_PROGRAM", None)),
        (75, "DeadlineExceeded", "", ("ERROR", "ERR_INFRA", 75)),
        (None, "BackoffLimitExceeded", "", ("ERROR", "ERR_INFRA", None)),
    ],
)
def test_how_a_job_failed_is_told_by_its_pods(cluster, record, code, reason, how, expected):
    cluster.controllers.stop()
    ended(cluster, "Failed", reason, code=code, how=how)
    now = PLATFORM.status(record)
    assert (now.state.value, now.err_class, now.exit_code) == expected
    if how == "disrupted":
        assert "preempted by another" in now.message
    if reason == "DeadlineExceeded":
        assert "deadline_seconds" in now.message


def test_a_pod_that_could_not_begin_is_reported_with_its_last_output(cluster, record):
    cluster.controllers.stop()
    ended(cluster, "Failed", "PodFailurePolicy", code=1)
    (pod,) = cluster.all("Pod")
    terminated = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    terminated["message"] = "one\nNo module named tao_skill_bank\n"
    assert PLATFORM.status(record).message.endswith("Its last output: No module named tao_skill_bank")


def test_a_pod_that_is_prepared_for_long_is_told_by_its_newest_event(cluster, record):
    cluster.controllers.stop()
    (pod,) = cluster.all("Pod")
    pod["status"] = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
    cluster.find("Job", JOB)["status"] = {"active": 1, "ready": 0}
    about = {"kind": "Pod", "name": pod["metadata"]["name"]}
    for moment, reason in (("2026-01-02T00:00:00Z", "Pulling"), ("2026-01-01T00:00:00Z", "FailedMount")):
        cluster.put("Event", reason.lower(), reason=reason, message="x", involvedObject=about, lastTimestamp=moment)
    now = PLATFORM.status(record)
    assert (now.state, now.message) == (State.PENDING, "Waits for its pods: Pulling: x")


def test_a_job_that_the_cluster_calls_complete_needs_its_own_word_for_it(cluster, record):
    cluster.controllers.stop()
    ended(cluster, "Complete", code=0)
    say(record, state="RUNNING", step=3)
    assert (PLATFORM.status(record).state, PLATFORM.status(record).err_class) == (State.ERROR, "ERR_PROGRAM")
    say(record, state="SUCCESS", message="done")
    assert PLATFORM.status(record).state is State.COMPLETE


def test_a_job_that_just_ended_may_have_lines_on_their_way(cluster, record):
    cluster.controllers.stop()
    ended(cluster, "Complete", code=0)
    cluster.find("Job", JOB)["status"]["conditions"][0]["lastTransitionTime"] = now_text()
    say(record, state="RUNNING", step=3)
    assert PLATFORM.status(record).state is State.RUNNING


def test_a_job_that_the_cluster_forgot_is_known_by_what_it_left(cluster, record):
    cluster.controllers.delete("Job", "lab", JOB)
    assert nothing_left(cluster)
    assert PLATFORM.status(record).state is State.UNKNOWN
    say(record, state="SUCCESS", message="done")
    Path(record.results_dir, "logs", "exit_code").write_text("0\n")
    assert PLATFORM.status(record).state is State.COMPLETE


def test_another_job_of_the_same_name_is_not_mistaken_for_it(cluster, record):
    cluster.find("Job", JOB)["metadata"]["uid"] = "another"
    assert PLATFORM.status(record).state is State.UNKNOWN


def test_a_job_whose_reference_is_not_recorded_yet_is_found_by_its_plan(cluster, job):
    made = job()
    run = Path(made.results_dir)
    run.mkdir()
    plan = make_plan(made, "kubernetes")
    (run / "plan.json").write_text(service.verbatim_json(service.to_json(plan)))
    PLATFORM.submit(plan)
    assert PLATFORM.status(make_record(made, platform="kubernetes")).state is State.RUNNING


def test_a_server_that_is_down_is_an_error_and_no_state(cluster, record, tmp_path):
    record.backend_ref["kubeconfig"] = cluster.kubeconfig(server="http://127.0.0.1:9")
    for verb in (PLATFORM.status, PLATFORM.cancel):
        with pytest.raises(BackendError) as error:
            verb(record)
        assert error.value.exit_code == 6
        assert "http://127.0.0.1:9" in str(error.value)


def test_a_cluster_that_refuses_the_account_hides_no_other_job(cluster, job):
    plan = make_plan(job(), "kubernetes")
    handle = service.launch(plan)
    cluster.token = "another"
    with pytest.raises(BackendError) as error:
        handle.status()
    assert (error.value.exit_code, error.value.problems[0].code) == (4, "credential_kubernetes")
    assert [record.id for record in service.list_jobs()] == [handle.id]


# --- cancel and logs ----------------------------------------------------------------------------------------------


def test_a_cancelled_job_is_gone_with_all_that_it_owns_and_a_second_time_changes_nothing(cluster, record):
    PLATFORM.cancel(record)
    assert cluster.names("Job", "Pod", "Service", "ConfigMap") == []
    assert Path(record.results_dir, "logs", "cancel_requested").exists()
    count = len(cluster.requests)
    PLATFORM.cancel(record)
    assert [method for method, _ in cluster.requests[count:]] == ["GET"]


def test_a_pod_that_does_not_end_is_an_error_that_names_it(cluster, record):
    cluster.controllers.stop()
    (pod,) = cluster.all("Pod")
    with pytest.raises(BackendError) as error:
        PLATFORM.cancel(record)
    (problem,) = error.value.problems
    assert problem.code == "kubernetes_stop_failed"
    assert pod["metadata"]["name"] in problem.fix


def test_the_log_of_the_run_directory_ends_with_that_of_the_node_that_failed(cluster, record):
    cluster.controllers.stop()
    ended(cluster, "Failed", "PodFailurePolicy", code=3)
    run = Path(record.results_dir)
    (run / "logs" / "job.log").write_text("one\ntwo\n")
    (run / "logs" / "node_1.log").write_text("the cause\n")
    (run / "exit").mkdir()
    (run / "exit" / "rank_0.json").write_text('{"rank": 0, "exit_code": 76, "error": "A peer died."}')
    (run / "exit" / "rank_1.json").write_text('{"rank": 1, "exit_code": 3, "error": "A bad video."}')
    lines = "".join(PLATFORM.logs(record, follow=True)).splitlines()
    assert lines[:2] == ["one", "two"]
    assert lines[-1] == "the cause"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "reason", "how"),
    [
        (137, "PodFailurePolicy", "OOMKilled"),
        (137, "PodFailurePolicy", ""),
        (137, "BackoffLimitExceeded", "disrupted"),
        (None, "BackoffLimitExceeded", ""),
        (137, "DeadlineExceeded", ""),
    ],
)
def test_a_training_that_had_succeeded_is_complete_though_its_pods_failed(cluster, record, code, reason, how):
    cluster.controllers.stop()
    ended(cluster, "Failed", reason, code=code, how=how)
    say(record, state="SUCCESS", message="Trained 3 epochs")
    now = PLATFORM.status(record)
    assert (now.state, now.err_class) == (State.COMPLETE, None)
