# Everything a newcomer needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV ?= .venv
# Where pip finds PyTorch; set it to PyTorch's CPU wheel index to avoid the CUDA build.
TORCH_INDEX_URL ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo demo-predict demo-deft test test-fast fuzz kill lint types imports schemas check bench clean

help:  ## Show the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(READY)  ## Create the virtual environment with everything that training and tests need.

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; choose one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[predict,quantize,fp8,qlora,bertscore,tensorboard,automl-gp,kubernetes,ui,dev]'
	@touch $@

demo: setup  ## Fine-tune the tiny model on sample clips and print the path of the report (under 4 minutes, CPU).
	$(BIN)/tao-skills demo

demo-predict: setup  ## Fine-tune a tiny video model with LoRA and DoRA, generate, measure; print the path of the gallery.
	$(BIN)/tao-skills demo predict

demo-deft: setup  ## Find what a tiny model answers wrongly, mine clips for it, retrain, and print the path of the report.
	$(BIN)/tao-skills demo deft

test: setup  ## Run all tests.
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: setup  ## Run the tests that need no engine and train nothing (about three minutes).
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow' --ignore=tests/e2e

kill: setup  ## Kill 200 random processes at random events of every stage, and require that all ends well (an hour).
	$(BIN)/python -m pytest tests/e2e/test_kills.py --kills 200

fuzz: setup  ## Look for inputs that end in anything but a typed error: 200,000 of them (hours).
	TAO_FUZZ_INPUTS=200000 $(BIN)/python -m pytest -n 2 tests/fuzz

lint: setup  ## Format check, lint, types and import layers.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schemas: setup  ## Regenerate schemas, templates and parameter tables from the dataclasses.
	$(BIN)/python scripts/generate_dataclass_schemas.py

check: lint  ## Lint, plus drift of generated files and validity of the skills.
	$(BIN)/python scripts/generate_dataclass_schemas.py --check
	for skill in skills/*/; do $(BIN)/agentskills validate $$skill || exit 1; done
	$(BIN)/tao-skills redact --check tests/golden skills schemas references README.md

bench: setup  ## Print the performance tables.
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:  ## Remove the virtual environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
