# ruff: noqa: E501 - lines of logs stay as they are
"""Logs of real failures, as torch, NCCL, CUDA, the kernel, Slurm and Kubernetes write them, and what each is about."""

import random
from collections.abc import Sequence

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.jobs import diagnose, failure_rules
from tao_skill_bank.jobs.diagnosis import Diagnosis

INFRA, PROGRAM = "ERR_INFRA", "ERR_PROGRAM"
TIMEOUT = (
    "[rank{rank}]:[E1206 18:44:12.715298746 ProcessGroupNCCL.cpp:632] [Rank {rank}] Watchdog caught collective operation "
    "timeout: WorkNCCL(SeqNum=7753, OpType=ALLREDUCE, NumelIn=8652160, NumelOut=8652160, Timeout(ms)=600000) ran for "
    "600061 milliseconds before timing out."
)
# What the other ranks and the launcher print when one rank has failed, in this order.
FOLLOWERS = [
    *(TIMEOUT.format(rank=rank) for rank in (0, 1, 2)),
    "[rank1]:[E1206 18:44:12.715588844 ProcessGroupNCCL.cpp:1785] [PG ID 0 PG GUID 0(default_pg) Rank 1] Exception (either "
    "an error or timeout) detected by watchdog at work: 7753, last enqueued NCCL work: 7755.",
    "[rank1]:[E1206 18:44:12.8 ProcessGroupNCCL.cpp:636] [Rank 1] To avoid data inconsistency, we are taking the entire "
    "process down.",
    "terminate called after throwing an instance of 'c10::DistBackendError'",
    "[rank2]: torch.distributed.DistBackendError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.4]:9731",
    "W1206 18:44:20.086000 870572 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 876054 closing "
    "signal SIGTERM",
    "E1206 18:44:20.186000 870572 torch/distributed/elastic/multiprocessing/api.py:869] failed (exitcode: 1) local_rank: 3 "
    "(pid: 876053) of binary: /usr/bin/python3.12",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    "  exitcode  : 1 (pid: 876053)",
    "  exitcode  : -6 (pid: 876054)",
    "  traceback : Signal 6 (SIGABRT) received by PID 876054",
    "  traceback : Signal 15 (SIGTERM) received by PID 876055",
    "srun: error: node-7: task 1: Exited with exit code 1",
    "slurmstepd: error: *** STEP 21941655.1 ON node-6 CANCELLED AT 2026-01-05T14:27:50 ***",
]
TRACEBACK = [
    "[rank3]: Traceback (most recent call last):",
    '[rank3]:   File "/opt/tao/models/train.py", line 88, in main',
    "[rank3]:     step(batch)",
    '[rank3]:   File "/opt/tao/models/loop.py", line 31, in step',
    "[rank3]:     loss = head(hidden)[targets]",
    "[rank3]:            ~~~~~~~~~~~~^^^^^^^^^",
]
FRAME = "/opt/tao/models/loop.py:31, in step"

# (root cause, retry, class of the error, the lines that show it)
FAILURES: list[tuple[str, str, str, list[str]]] = [
    ("device_side_assert", "after_change", PROGRAM, [
        "../aten/src/ATen/native/cuda/Indexing.cu:1236: indexSelectLargeIndex: block: [5,0,0], thread: [31,0,0] Assertion "
        "`srcIndex < srcSelectDimSize` failed."]),
    ("device_side_assert", "after_change", PROGRAM, [
        "[rank3]: torch.AcceleratorError: CUDA error: device-side assert triggered"]),
    ("device_side_assert", "after_change", PROGRAM, [
        "node-3:26024:27098 [3] include/alloc.h:125 NCCL WARN Cuda failure 710 'device-side assert triggered'"]),
    ("gpu_hardware", "yes", INFRA, [
        "[74889.644138] NVRM: Xid (PCI:0000:02:00): 79, GPU has fallen off the bus."]),
    ("gpu_hardware", "yes", INFRA, [
        "kernel: NVRM: Xid (PCI:0000:b3:00): 48, pid=3301, name=python, An uncorrectable double bit error (DBE)"]),
    ("gpu_hardware", "yes", INFRA, [
        "kernel: NVRM: Xid (PCI:0000:44:00): 119, pid=41, Timeout after 6s of waiting for RPC response from GPU1 GSP!"]),
    ("gpu_hardware", "yes", INFRA, ["torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered"]),
    ("gpu_exception", "after_change", PROGRAM, ["RuntimeError: CUDA error: an illegal memory access was encountered"]),
    ("gpu_exception", "after_change", PROGRAM, [
        "NVRM: Xid (PCI:0000:1b:00): 31, pid=8123, name=python, Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS"]),
    ("gpu_exception", "after_change", PROGRAM, [
        "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa, opb)`"]),
    ("node_failed", "yes", INFRA, [
        "slurmstepd: error: *** JOB 814 ON node-7 CANCELLED AT 2026-01-05T14:27:50 DUE TO NODE FAILURE, SEE SLURMCTLD LOG "
        "FOR DETAILS ***"]),
    ("node_failed", "yes", INFRA, ["srun: error: Node failure on node-7"]),
    ("node_failed", "yes", INFRA, ["Pod was terminated in response to imminent node shutdown."]),
    ("preempted", "yes", INFRA, [
        "slurmstepd: error: *** STEP 21941655.0 ON node-1 CANCELLED AT 2026-01-05T14:27:50 DUE TO PREEMPTION ***"]),
    ("time_limit", "yes", INFRA, [
        "slurmstepd: error: *** JOB 99 ON node-1 CANCELLED AT 2026-01-05T14:27:50 DUE TO TIME LIMIT ***"]),
    ("time_limit", "yes", INFRA, ["Job was active longer than specified deadline"]),
    ("evicted", "after_change", INFRA, [
        "The node was low on resource: ephemeral-storage. Container trainer was using 10619440Ki, request is 0."]),
    ("main_memory_exhausted", "after_change", PROGRAM, [
        "slurmstepd: error: Detected 1 oom_kill event in StepId=11300781.0. Some of the step tasks have been OOM Killed."]),
    ("main_memory_exhausted", "after_change", PROGRAM, [
        "[2217.1] Memory cgroup out of memory: Killed process 48213 (python) total-vm:91231232kB, anon-rss:62914560kB"]),
    ("main_memory_exhausted", "after_change", PROGRAM, [
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=job_7,mems_allowed=0,task=python,pid=48213,uid=1000"]),
    ("main_memory_exhausted", "after_change", PROGRAM, ["    Reason: OOMKilled, exit code 137"]),
    ("main_memory_exhausted", "after_change", PROGRAM, [
        "RuntimeError: [enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
        "to allocate 68719476736 bytes."]),
    ("killed", "yes", INFRA, ["  exitcode  : -9 (pid: 48213)", "  traceback : Signal 9 (SIGKILL) received by PID 48213"]),
    ("killed", "yes", INFRA, ["launch.sh: line 23: 48213 Killed                  python -m torch.distributed.run"]),
    ("disk_full", "after_change", INFRA, ["OSError: [Errno 28] No space left on device"]),
    ("disk_full", "after_change", INFRA, [
        "RuntimeError: [enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file data/12: file "
        "write failed: No space left on device"]),
    ("disk_full", "after_change", INFRA, ["OSError: [Errno 122] Disk quota exceeded: '/home/me/run/checkpoints/x.pt'"]),
    ("driver_mismatch", "after_change", INFRA, [
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver."]),
    ("driver_mismatch", "after_change", INFRA, ["Failed to initialize NVML: Driver/library version mismatch"]),
    ("driver_mismatch", "after_change", INFRA, [
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver"]),
    ("driver_mismatch", "after_change", INFRA, [
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.6, please update your driver to a newer "
        "version, or use an earlier cuda container"]),
    ("gpu_not_supported", "after_change", INFRA, [
        "RuntimeError: CUDA error: no kernel image is available for execution on the device"]),
    ("gpu_not_visible", "after_change", PROGRAM, ["RuntimeError: No CUDA GPUs are available"]),
    ("gpu_not_visible", "after_change", PROGRAM, ["torch.AcceleratorError: CUDA error: invalid device ordinal"]),
    ("cuda_out_of_memory", "after_change", PROGRAM, [
        "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. GPU 3 has a total capacity of "
        "79.10 GiB of which 1.2 GiB is free."]),
    ("loss_not_finite", "after_change", PROGRAM, ["2026-03-01 12:00:01 INFO step 130/400 train/loss_avg: nan lr 2.0e-04"]),
    ("loss_not_finite", "after_change", PROGRAM, ["FloatingPointError: Loss is not finite: loss became nan at step 12"]),
    ("nccl_error", "yes", INFRA, [
        "torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1333, "
        "unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.18.1"]),
    ("network_failed", "yes", INFRA, [
        "node-2:3468:3905 [4] ib_plugin.c:1615 NCCL WARN NET/IB : Got completion from peer 10.216.210.236<54862> with "
        "status=12 opcode=0 len=0 vendor err 129 (Recv)"]),
    ("nodes_did_not_meet", "yes", INFRA, ["torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError"]),
    ("nodes_did_not_meet", "yes", INFRA, [
        "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to "
        "(node-1, 29500)."]),
    ("port_in_use", "yes", INFRA, [
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: "
        "29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use"]),
    ("file_system_failed", "yes", INFRA, ["OSError: [Errno 116] Stale file handle: '/mnt/nfs/run/status.jsonl'"]),
    ("file_system_failed", "yes", INFRA, ["OSError: [Errno 5] Input/output error: '/mnt/data/7.mp4'"]),
    ("file_system_failed", "yes", INFRA, ["OSError: [Errno 30] Read-only file system: '/results/run/checkpoints'"]),
    ("permission_denied", "after_change", PROGRAM, ["PermissionError: [Errno 13] Permission denied: '/results/run'"]),
    ("too_many_open_files", "after_change", PROGRAM, ["OSError: [Errno 24] Too many open files: '/data/12.mp4'"]),
    ("shared_memory", "after_change", PROGRAM, [
        "RuntimeError: DataLoader worker (pid 91) is killed by signal: Bus error. It is possible that dataloader's workers "
        "are out of shared memory. Please try to raise your shared memory limit."]),
    ("shared_memory", "after_change", PROGRAM, ["RuntimeError: unable to write to file </torch_2217_1871_0>"]),
    ("shared_memory", "after_change", PROGRAM, [
        "node-1:88:157 [0] misc/shmutils.cc:72 NCCL WARN Error: failed to extend /dev/shm/nccl-1a2b to 9637892 bytes"]),
    ("segmentation_fault", "after_change", PROGRAM, ["  exitcode  : -11 (pid: 48213)"]),
    ("gated_repository", "after_change", PROGRAM, [
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-6)"]),
    ("gated_repository", "after_change", PROGRAM, ["Access to model nvidia/Cosmos-Reason2-8B is restricted."]),
    ("hub_unreachable", "yes", INFRA, [
        "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub"]),
    ("hub_unreachable", "yes", INFRA, [
        "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/api/models/x"]),
    ("name_not_resolved", "yes", INFRA, ["socket.gaierror: [Errno -3] Temporary failure in name resolution"]),
    ("missing_module", "after_change", PROGRAM, ["ModuleNotFoundError: No module named 'av'"]),
    ("library_mismatch", "after_change", PROGRAM, [
        "ImportError: /opt/lib/python3.12/site-packages/flash_attn_2_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEi"]),
    ("library_mismatch", "after_change", PROGRAM, [
        "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"]),
    ("library_mismatch", "after_change", PROGRAM, [
        "ImportError: cannot import name 'Qwen3VLForConditionalGeneration' from 'transformers'"]),
    ("checkpoint_broken", "after_change", PROGRAM, [
        "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"]),
    ("weights_do_not_fit", "after_change", PROGRAM, [
        "	size mismatch for lm_head.weight: copying a param with shape torch.Size([151936, 2048]) from checkpoint"]),
    ("image_not_available", "after_change", PROGRAM, ["Back-off pulling image: ImagePullBackOff"]),
    ("logger_not_logged_in", "after_change", PROGRAM, [
        "wandb.errors.errors.UsageError: api_key not configured (no-tty). call wandb.login(key=[your_api_key])"]),
    ("video_unreadable", "after_change", PROGRAM, ["[mov,mp4 @ 0x55] moov atom not found"]),
    ("interrupted", "yes", INFRA, [
        "error: A signal interrupted the training after step 12; all of it is in /run/checkpoints/step_12."]),
]  # fmt: skip

HEALTHY = [
    "2026-03-01 12:00:01 INFO step 3/400 loss 1.25 error_rate 0.02 mean_absolute_error: 0.31 reprojection error: 0.7 px",
    "2026-03-01 12:00:01 INFO 0 errors, 0 failed records, no exception, killed: 0, oom_kill 0, uncorrectable ECC errors: 0",
    "2026-03-01 12:00:01 INFO val_loss improved from inf to 0.31; best val loss: inf -> 0.31; detect_nan: true",
    "2026-03-01 12:00:01 INFO prompt: a robot says CUDA out of memory and its disk has No space left on device",
    '{"prompt": "Why do I get: RuntimeError: CUDA error: device-side assert triggered?", "answer": "An index is wrong."}',
    '[rank0]: question: "What does NVRM: Xid (PCI:0000:02:00): 79, GPU has fallen off the bus. mean?"',
    "caption=A sign reads Permission denied, [Errno 13] and Segmentation fault",
    '{"conversations": [{"from": "human", "value": "Traceback (most recent call last): ValueError: bad"}]}',
    "answer: Bus error",
    "/usr/lib/python3/site.py:12: UserWarning: NCCL error in: x.cpp:3, unhandled system error was caught, trying again",
    "2026-03-01 12:00:01 WARNING 429 Client Error: Too Many Requests for url: https://huggingface.co/api; waiting 3 s",
    "W0213 12:07:20.086000 870572 torch/distributed/run.py:792] Setting OMP_NUM_THREADS to be 1, Address already in use",
    "[W1206 18:44:12.7 socket.cpp:697] [c10d] The client socket has failed to connect to [node-1]:29500 (errno: 111).",
    "node-1:88:157 [0] NCCL INFO NET/IB : Using [0]mlx5_0:1/IB ; OOB bond0:10.140.28.100<0>",
    "node-1:88:157 [0] NCCL INFO comm 0x557 rank 0 nranks 8 Abort COMPLETE, Connection closed by peer [10.0.0.1]",
    "2026-03-01 12:00:01 DEBUG retrying: OSError: [Errno 116] Stale file handle",
    "warning: no space left on device was reported by a probe of /tmp, another folder is used",
    "MeanSquaredError: 0.125",
    "loaded error_correction.json, fatal_errors.csv, exceptions/ and Killed_Bill.mp4",
    "12:00:01 step 12/400 loss 0.31 grad_norm 0.9 skip_nan 0",
]


def diagnosed(lines: Sequence[str]) -> list[Diagnosis]:
    return diagnose.diagnose_text((f"{line}\n" for line in lines), "job.log")


@pytest.mark.parametrize(
    ("code", "retry", "err_class", "lines"), FAILURES, ids=[f"{number}-{row[0]}" for number, row in enumerate(FAILURES)]
)
@pytest.mark.parametrize("order", ["followers first", "interleaved"])
def test_a_root_cause_is_found_wherever_its_followers_are(
    order: str, code: str, retry: str, err_class: str, lines: list[str]
) -> None:
    followers = FOLLOWERS if order != "interleaved" else random.Random(code).sample(FOLLOWERS, len(FOLLOWERS))
    cut = len(followers) // 2 if order == "interleaved" else len(followers)
    log = [*HEALTHY, *followers[:cut], *lines, *followers[cut:]]
    root, *others = diagnosed(log)
    assert (root.role, root.code, root.retry, root.err_class) == ("root", code, retry, err_class)
    assert root.symptom == lines[0].strip()
    assert log[root.line_number - 1].strip() == root.symptom
    assert {other.code for other in others} >= {"collective_timeout", "peer_lost", "ranks_stopped"}
    assert {other.role for other in others} == {"follower"}
    assert next(other for other in others if other.code == "collective_timeout").ranks == (0, 1, 2)


@pytest.mark.parametrize("line", HEALTHY)
def test_a_line_of_a_healthy_log_is_no_failure(line: str) -> None:
    (found,) = diagnosed(["start", line, "done"])
    assert (found.code, found.retry, found.err_class) == ("no_failure", "no", None)


def test_a_log_that_only_shows_followers_says_that_the_cause_is_elsewhere() -> None:
    found = diagnosed([*HEALTHY, *FOLLOWERS])
    assert {entry.role for entry in found} == {"follower"}
    assert "first error of any other rank" in found[0].cure


@pytest.mark.parametrize(
    "exception", ["ValueError: 3 is not in list", "av.error.EOFError_: end", "_Stop", "my.mod.Oops"]
)
@pytest.mark.parametrize("prefix", ["[rank3]: ", "", "(worker pid=77, ip=10.0.0.3) ", "3: ", "2026-03-01T12:00:01.5Z "])
@pytest.mark.parametrize("cut", [0, 7, len(FOLLOWERS)])
def test_an_unknown_failure_is_quoted_with_its_last_frame_before_its_followers(
    cut: int, prefix: str, exception: str
) -> None:
    own = [line.replace("[rank3]: ", prefix) for line in [*TRACEBACK, f"[rank3]: {exception}"]]
    log = [*HEALTHY, *FOLLOWERS[:cut], *own, *FOLLOWERS[cut:]]
    root, *others = diagnosed(log)
    assert (root.role, root.code, root.symptom, root.frame) == (
        "root", "no_known_failure", f"{prefix}{exception}".strip(), FRAME,
    )  # fmt: skip
    assert log[root.line_number - 1].strip() == root.symptom
    assert root.retry == "no"
    assert "not known" in root.cure.lower()
    assert FRAME in root.cause
    assert {other.role for other in others} == {"follower"}


def test_a_known_exception_has_the_frame_that_raised_it() -> None:
    root, *_ = diagnosed(
        [*FOLLOWERS, *TRACEBACK, "[rank3]: torch.AcceleratorError: CUDA error: device-side assert triggered"]
    )
    assert (root.code, root.frame, root.ranks) == ("device_side_assert", FRAME, (3,))


def test_tracebacks_of_several_ranks_that_are_interleaved_keep_their_own_frames() -> None:
    def of(rank: int, frame: str, exception: str) -> list[str]:
        lines = [*TRACEBACK[:-3], TRACEBACK[3].replace("loop.py", frame), *TRACEBACK[4:], f"[rank3]: {exception}"]
        return [line.replace("rank3", f"rank{rank}") for line in lines]

    one, two = (
        of(1, "a.py", "torch.distributed.DistBackendError: NCCL communicator was aborted"),
        of(2, "b.py", "KeyError: 7"),
    )
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    root, *others = diagnosed(mixed)
    assert (root.symptom, root.frame, root.ranks) == ("[rank2]: KeyError: 7", "/opt/tao/models/b.py:31, in step", (2,))
    assert [(other.code, other.role) for other in others] == [("peer_lost", "follower")]


@pytest.mark.parametrize("mark", ["During handling of the above exception, another exception occurred:",
                                  "The above exception was the direct cause of the following exception:"])  # fmt: skip
def test_of_a_chain_the_exception_that_ended_the_program_is_quoted(mark: str) -> None:
    first = [line.replace("[rank3]: ", "") for line in TRACEBACK]
    log = [*first, "KeyError: 'a'", "", mark, "", *first, "RuntimeError: the batch has no clip"]
    (root,) = diagnosed(log)
    assert root.symptom == "RuntimeError: the batch has no clip"
    (known,) = diagnosed([*first, "KeyError: 'a'", "", mark, "", *first, "OSError: [Errno 24] Too many open files"])
    assert known.code == "too_many_open_files"


def test_a_program_of_the_bank_states_its_cause_and_fix() -> None:
    (root,) = diagnosed(["start", "[rank0]: error: There are 3 clips of no class. Fix: Drop them."])
    assert (root.code, root.cause, root.cure, root.retry) == (
        "stated_failure", "There are 3 clips of no class.", "Drop them.", "after_change",
    )  # fmt: skip


def test_an_error_without_a_traceback_comes_after_a_suspicion() -> None:
    found = diagnosed(["2026-03-01 12:00:01 ERROR the reader stopped", "  exitcode  : -9 (pid: 4821)"])
    assert [(entry.code, entry.role) for entry in found] == [("killed", "root"), ("no_known_failure", "also")]


def test_every_rule_of_the_bank_and_every_word_of_it_is_shown_by_an_example() -> None:
    shown = "\n".join(line for *_, lines in FAILURES for line in [*lines, *FOLLOWERS])
    general = {rule.code: rule for rule in failure_rules.rules() if not rule.package}
    unseen = {code for code, rule in general.items() if not rule.pattern.search(shown)}
    assert unseen <= {
        "no_training_steps",
        "checkpoint_not_found",
        "signaled_at_start",
        "terminated",
    }  # in test_diagnose


@pytest.mark.parametrize("rule", failure_rules.rules(), ids=lambda rule: f"{rule.package}-{rule.code}")
def test_a_rule_that_says_retry_names_no_change_first(rule: failure_rules.Rule) -> None:
    assert (rule.retry == "yes") <= (rule.err_class == INFRA)
    assert not rule.steps or rule.retry == "after_change" or rule.standing == "suspicion"


def test_the_errors_page_lists_every_code_of_any_model() -> None:
    page = (catalog.bank_root() / "references" / "errors.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:3] == "| `"
    ]
    listed = {(row[0], *row[2:]) for row in rows if len(row) == 5}
    assert listed == {
        (rule.code, rule.standing, rule.retry, rule.err_class) for rule in failure_rules.rules() if not rule.package
    }
