"""`vllm serve` as a child process on this rank's GPU, stopped after the evaluation."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil

from tao_skill_bank.core import settings
from tao_skill_bank.errors import JobFailedError, MissingExtraError
from tao_skill_bank.models.cosmos_reason.chat_messages import EVERY_FRAME
from tao_skill_bank.models.cosmos_reason.config import EvaluateConfig
from tao_skill_bank.training import only_rank

MODULE = "vllm.entrypoints.cli.main"
END_SECONDS = 30
SHOWN_LINES = 5


@contextlib.contextmanager
def serving(config: EvaluateConfig, checkpoint: Path, log: Path, local_rank: int) -> Iterator[str]:
    """Start a server for a checkpoint, and yield its base URL once it responds.

    Raises:
        MissingExtraError: vLLM is not installed.
        JobFailedError: the server died or did not respond in time; the end of its log says why.

    """
    if find_spec("vllm") is None:
        raise MissingExtraError.for_module("vllm", "vllm")
    port = _free_port()
    command = [sys.executable, "-m", MODULE, *_arguments(config, checkpoint, port)]
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=_environment(local_rank))
    try:
        _wait(child, port, config.evaluation.vllm.start_seconds, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end(child)


def _arguments(config: EvaluateConfig, checkpoint: Path, port: int) -> list[str]:
    model, server = config.model, config.evaluation.vllm
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--served-model-name": server.model or model.model_name,
        "--dtype": model.dtype,
        "--max-model-len": model.max_length,
        "--gpu-memory-utilization": server.gpu_memory_utilization,
        "--max-num-seqs": server.concurrency,
        "--generation-config": "vllm",  # sampling is set by the spec, not by the checkpoint
        "--media-io-kwargs": json.dumps(EVERY_FRAME),
        "--seed": config.evaluation.seed,
    }
    if model.tokenizer_model_name:
        options["--tokenizer"] = model.tokenizer_model_name
    return ["serve", str(checkpoint), *(str(word) for option in options.items() for word in option)]


def _environment(local_rank: int) -> dict[str, str]:
    """Return the environment with this rank's GPU as the only one."""
    listed = [name for name in (settings.visible_gpus() or "").split(",") if name.strip()]
    gpu = listed[local_rank] if local_rank < len(listed) else str(local_rank)
    return only_rank.environment() | {"CUDA_VISIBLE_DEVICES": gpu}


def _wait(child: "subprocess.Popen[bytes]", port: int, seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while not _answers(port):
        try:
            code = child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            code = None
        if code is not None or time.monotonic() > end:
            what = f"ended with exit code {code}" if code is not None else f"did not respond within {seconds:g} seconds"
            message = f"vllm serve {what}: {' | '.join(_last_lines(log)) or 'no output'}"
            fix = (
                f"Read {log}; lower model.max_length or evaluation.vllm.gpu_memory_utilization when memory is short, "
                "raise evaluation.vllm.start_seconds for a slow disk, or use evaluation.engine=transformers."
            )
            raise JobFailedError.of("vllm_not_started", message, fix, path="evaluation.vllm")


def _answers(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/models")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_lines(log: Path) -> Sequence[str]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()][-SHOWN_LINES:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Stop the server and its child processes."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in psutil.wait_procs(family, timeout=END_SECONDS)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    child.wait()
