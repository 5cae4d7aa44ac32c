# Everything runs through these targets, in the environment that `make setup` makes from the lock.
#
#     make                                        # the list of targets
#     make train RECIPE=squad ARGS="--train.epochs 1 --run-name first"
#     make verify RUN=runs/first
#
# RECIPE, RUN and ARGS go to the job; see `make JOB ARGS=--help`. PYTHON= and ENV= choose the environment.
# When a job fails, make itself exits with 2; its message "Error N" names the job's own exit code
# (2: you can fix it, 1: a bug), and `.venv/bin/python -m jobs.JOB` exits with it.

ENV_NAME := $(shell sed -n 's/^name: *//p' environment.yml)
# ENV defaults to conda where this project's own conda environment is activated, else to venv. Shells
# and containers use ENV for other things: only these two values of the environment count.
ifeq (,$(filter venv conda,$(ENV))$(filter command,$(origin ENV)))
ENV := $(if $(filter $(ENV_NAME),$(CONDA_DEFAULT_ENV)),conda,venv)
endif
ENV_PYTHON := $(if $(filter conda,$(ENV)),$(CONDA_PREFIX),.venv)/bin/python

# `make evaluate RUN=runs/mine` is `--model.name runs/mine`; a RUN from the shell is ignored.
MODEL := $(if $(filter command,$(origin RUN)),--model.name '$(RUN)')
# `make push RUN=runs/mine REPO=user/name` is `--push.repo user/name`.
PUSHED = $(if $(filter push,$@ $(JOB)),$(if $(filter command,$(origin REPO)),--push.repo '$(REPO)'))
# `make compare RUNS="runs/one runs/other"`, here or as a submitted job.
COMPARED = $(if $(filter compare,$@ $(JOB)),$(if $(filter command,$(origin RUNS)),--compare.runs $(RUNS)))

# A variable that was given to make itself: shells use names such as ID for other things.
given = $(if $(filter command,$(origin $1)),$($1))

# No library reports usage, unless the user decided otherwise.
export HF_HUB_DISABLE_TELEMETRY ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0
export DO_NOT_TRACK ?= 1

.DEFAULT_GOAL := help
# A job is a module of jobs/; a line `NAME: ## what it does` below puts it into the help.
JOBS := $(patsubst jobs/%.py,%,$(wildcard jobs/[a-z]*.py))
# These take long, `surgery` and `serving` need a run, `gpu` a GPU: only by name, as `make bench-gpu`.
BENCHMARKS := $(filter-out adjustment parts gpu ragged search serving surgery unanswerable,$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[a-z]*.py)))

.PHONY: cluster-check cluster-up cluster-dashboard cluster-down submit logs stop loopback-cluster
.PHONY: help setup $(JOBS) test test-fast test-slow test-gpu bench-gpu lint types format bench reference lock clean

help: ## List the targets
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 19

setup: ## Make .venv, or fill the activated conda environment, from the lock (no time when done)
	@PYTHON='$(PYTHON)' ENV='$(ENV)' TORCH='$(TORCH)' scripts/setup.sh

prepare: ## Write the questions as sharded Parquet with a manifest
train: ## Fine-tune a model; by default the embedded one on the embedded questions
adjust: ## Cut a model's layers and widths, dependents included, and recover the accuracy
tune: ## Search for the adjustment that keeps the most F1 at the lowest latency
answer: ## Answer a question, questions at a prompt, or a file of JSON lines
evaluate: ## Score a model, or a predictions file, on all evaluation questions
export: ## Write a model as ONNX, optionally int8 too, and compare it with PyTorch
verify: ## Prove a finished run again, from its folder alone: make verify RUN=runs/NAME
report: ## Write a run's report.html again, and open it: make report RUN=runs/NAME
compare: ## Set runs side by side: make compare RUNS="runs/ONE runs/OTHER"
demo: ## Ask a run's model on a page of this machine: make demo RUN=runs/NAME
serve: ## Answer questions over HTTP by Ray Serve: make serve RUN=runs/NAME
push: ## Put a run's model on the Hugging Face hub: make push RUN=runs/NAME REPO=user/name
doctor: ## Say in seconds what would fail: resources, versions, storage, model, data, disk

$(JOBS): setup
	$(ENV_PYTHON) -m jobs.$@ $(if $(RECIPE),--recipe '$(RECIPE)') $(MODEL) $(COMPARED) $(PUSHED) $(ARGS)

# Variables given to make (PROJECT, REGION, SPOT, NO_WAIT ...) reach the commands as environment.
cluster-check: setup ## Say what a Google Cloud project lacks: make cluster-check PROJECT=my-project BUCKET=my-bucket
	$(ENV_PYTHON) -m cluster.gcp check

cluster-up: setup ## Start a Ray cluster of T4s on Google Cloud: make cluster-up PROJECT=my-project [SPOT=1]
	$(ENV_PYTHON) -m cluster.gcp up

cluster-dashboard: setup ## Keep a tunnel open to the cluster's dashboard, which submit uses
	$(ENV_PYTHON) -m cluster.gcp dashboard

cluster-down: setup ## Delete the cluster on Google Cloud
	$(ENV_PYTHON) -m cluster.gcp down

submit: setup ## Send a job to the cluster at RAY_ADDRESS and follow it: make submit JOB=train ARGS="..."
	$(ENV_PYTHON) -m cluster.submit $(JOB) $(if $(RECIPE),--recipe '$(RECIPE)') $(MODEL) $(COMPARED) $(PUSHED) $(ARGS)

logs: setup ## Follow a submitted job: make logs ID=raysubmit_..., or RUN=its-run
	$(ENV_PYTHON) -m cluster.logs $(or $(call given,ID),$(call given,RUN))

stop: setup ## Stop a submitted job: make stop ID=raysubmit_..., or RUN=its-run
	$(ENV_PYTHON) -m cluster.stop $(or $(call given,ID),$(call given,RUN))

loopback-cluster: setup ## Run a Ray cluster of three nodes on this machine until Ctrl-C
	$(ENV_PYTHON) -m cluster.loopback $(ARGS)

# The unit tests, which start no Ray, take a process for each core, up to four; the others each use
# all cores themselves. With ARGS, such as a file's name, one process runs what they choose.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

test: setup ## Run the tests, except those marked gpu or slow
ifeq (,$(ARGS))
	@failed=0; \
	$(ENV_PYTHON) -m pytest tests/unit $(PARALLEL) -m "not gpu and not slow" || failed=$$?; \
	$(ENV_PYTHON) -m pytest --ignore tests/unit -m "not gpu and not slow" || failed=$$?; \
	exit $$failed
else
	$(ENV_PYTHON) -m pytest -m "not gpu and not slow" $(ARGS)
endif

test-fast: setup ## Run the unit tests only
	$(ENV_PYTHON) -m pytest tests/unit $(PARALLEL) -m "not gpu and not slow" $(ARGS)

test-slow: setup ## Run the tests marked slow (all but gpu)
	$(ENV_PYTHON) -m pytest -m "slow and not gpu" $(ARGS)

test-gpu: setup ## Run the tests that need a CUDA GPU
	$(ENV_PYTHON) -m pytest -m gpu $(ARGS)

lint: setup ## Check style and formatting
	$(ENV_PYTHON) -m ruff check .
	$(ENV_PYTHON) -m ruff format --check .

types: setup ## Check types
	$(ENV_PYTHON) -m mypy

format: setup ## Rewrite the files in the style that lint checks
	$(ENV_PYTHON) -m ruff check --fix .
	$(ENV_PYTHON) -m ruff format .

bench: setup ## Run the benchmarks one after the other; bench-NAME runs one
	@set -e; for name in $(BENCHMARKS); do $(ENV_PYTHON) -m benchmarks.$$name $(ARGS); done

bench-gpu: setup ## Measure what needs a GPU, in 25 minutes at most: make bench-gpu ARGS="--storage FOLDER"
	$(ENV_PYTHON) -m benchmarks.gpu $(ARGS)

bench-%: setup
	$(ENV_PYTHON) -m benchmarks.$* $(ARGS)

reference: setup ## Write docs/reference from the types of settings and results
	$(ENV_PYTHON) scripts/reference.py

lock: setup ## Resolve pyproject.toml into requirements.txt; ARGS=--upgrade for the newest versions
	$(ENV_PYTHON) scripts/lock.py $(ARGS)

clean: ## Remove caches; .venv and runs/ stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
