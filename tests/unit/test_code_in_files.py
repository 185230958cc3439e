"""Nothing in the package runs code that a file brings: every call that could is found here, wherever it is added."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tao_skill_bank

PACKAGE = Path(tao_skill_bank.__file__).parent
RUNS_CODE = {
    *("eval", "exec", "compile", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("shelve.open", "joblib.load", "dill.load", "cloudpickle.load", "pandas.read_pickle", "pd.read_pickle"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "runpy.run_path", "runpy.run_module"),
    *("importlib.util.spec_from_file_location", "sys.path.insert", "sys.path.append", "torch.hub.load"),
}
REQUIRED = {  # what makes a call safe
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
AUTO = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor")
LOADERS = {"core/yaml12.py", "core/packaged_yaml.py"}  # that pass a loader derived from SafeLoader, or its equal in C
# Their launch script exports PYTHONSAFEPATH, or they start a vLLM server below such a launch.
SAFE_BY_ENVIRONMENT = {
    *("training/pod.py", "models/cosmos_reason/vllm_server.py", "platforms/torchrun.py", "platforms/local/render.py"),
}


def faults(source: str, name: str) -> Iterator[str]:
    """Yield what in a module could run code of a file, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {one.arg: one.value for one in node.keywords}
            if called in RUNS_CODE or (called == "yaml.load" and name not in LOADERS):
                yield f"{name}:{node.lineno} {called}"
            if called in REQUIRED and _value(given, REQUIRED[called][0]) is not REQUIRED[called][1]:
                yield f"{name}:{node.lineno} {called} without {'='.join(map(str, REQUIRED[called]))}"
            needs_refusal = called.endswith(".from_pretrained") and called.split(".")[-2] in AUTO
            if (needs_refusal or "trust_remote_code" in given) and _value(given, "trust_remote_code") is not False:
                yield f"{name}:{node.lineno} {called} without trust_remote_code=False"
        elif isinstance(node, (ast.List, ast.Tuple)) and name not in SAFE_BY_ENVIRONMENT:
            words = [ast.unparse(word) for word in node.elts]
            if words[:2] == ["sys.executable", "'-m'"]:
                yield f"{name}:{node.lineno} python -m without -P, which imports from the current folder"


def _value(given: dict[str | None, ast.expr], key: str) -> object:
    value = given.get(key)
    return value.value if isinstance(value, ast.Constant) else None


def test_no_module_runs_code_that_a_file_brings() -> None:
    found = [
        fault
        for path in sorted(PACKAGE.rglob("*.py"))
        for fault in faults(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix())
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "pickle.loads(data)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "AutoTokenizer.from_pretrained(folder)",
        "transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)",
        "Some.load(folder, trust_remote_code=chosen)",
        "sys.path.insert(0, folder)",
        "subprocess.run([sys.executable, '-m', module])",
    ],
)
def test_such_a_call_would_be_found(source: str) -> None:
    assert list(faults(source, "some/module.py"))
