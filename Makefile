# `make help` lists every target.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PORT ?= $(or $(shell sed -n 's/^PORT=//p' .env 2>/dev/null),8080)
SCALE ?= stt=1
GATEWAYS ?= 1
URL ?=
LEVELS ?=
JSON ?=
PLOT ?=
CALLS ?= 20
COUNT ?= 100

.PHONY: help install call call-vendors scenarios interruptions load bench guard chaos leaks up down test test-containers check format image clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements.txt requirements-dev.txt
	@echo "installing Trunkline into $(VENV) (about a minute, the first time) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	@set -o pipefail; $(BIN)/python -m pip install -r requirements-dev.txt \
	  | awk '/^Collecting/ {n++; printf "\r  %d packages found …", n} /^Installing/ {printf "\n  installing them …"} {fflush()} END {print ""}'
	@touch $@

install: $(VENV)/.installed ## Create .venv and install the pinned dependencies

call: install ## Start everything, place a simulated call, show it; SAY="…" asks one thing, FILE=x.wav plays a file
	@python -m simulator demo $(if $(URL),--url $(URL)) $(if $(SAY),--say "$(SAY)") $(if $(FILE),--file "$(FILE)")

call-vendors: install ## The same call through the vendors' real SDKs against local stand-ins
	@python -m simulator demo --vendors standins $(if $(SAY),--say "$(SAY)") $(if $(FILE),--file "$(FILE)")

scenarios: install ## Play the callers of scenarios/calls, or FILE=x.yaml, and judge them; VENDORS=standins uses the SDKs
	@python -m simulator scenario $(FILE) $(if $(URL),--url $(URL)) $(if $(VENDORS),--vendors $(VENDORS))

interruptions: install ## Interrupt the agent COUNT=100 times, cough as often, and measure
	@python -m simulator interruptions --count $(COUNT) --vendors standins

load: install ## Place CALLS=20 simultaneous calls through the vendors' SDKs, each must get its own right answers
	@python -m simulator load --calls $(CALLS) $(if $(URL),--url $(URL),--vendors standins)

bench: install ## Find how many calls one core holds and what each costs (a quarter of an hour); LEVELS=10,50 runs these; JSON=, PLOT=x.svg
	@python -m simulator bench $(if $(LEVELS),--levels $(LEVELS)) $(if $(JSON),--json "$(JSON)") $(if $(PLOT),--plot "$(PLOT)")

guard: install ## Compare what a call costs with docs/bench-baseline.json (a minute; it warns and does not fail)
	@python -m simulator bench --guard docs/bench-baseline.json

chaos: install ## Break a running system in every way under CALLS=10 calls, judge what they hear; FAULTS=stt-*,broker-* picks
	@python -m simulator chaos $(if $(FAULTS),--faults "$(FAULTS)") $(if $(filter command,$(origin CALLS)),--calls $(CALLS))

leaks: install ## Place COUNT=200 calls that end in every way, look for what is left of them
	@python -m simulator leaks $(if $(filter command,$(origin COUNT)),--calls $(COUNT))

up: install ## Run the system in the foreground until Ctrl-C; SCALE=stt=3,tts=2 starts more workers, GATEWAYS=2 more gateways
	@python -m services.gateway --check
	@mkdir -p .run
	@honcho -e /dev/null export -a trunkline -u "$$(id -un)" -s /bin/sh -p $(PORT) -c gateway=$(GATEWAYS),$(SCALE) -t tools supervisord .run > /dev/null
	@[ -s .run/broker.env ] || (umask 077; python -m broker > .run/broker.env)
	@set -a; . .run/broker.env; exec supervisord -c .run/trunkline.conf

down: ## Stop what `make up` left behind and delete its data
	@if [ -S .run/supervisord.sock ] && supervisorctl -c .run/trunkline.conf pid > /dev/null 2>&1; then \
	  pid=$$(supervisorctl -c .run/trunkline.conf pid); echo "stopping supervisord ($$pid) …"; kill -TERM $$pid; \
	  while kill -0 $$pid 2> /dev/null; do sleep 0.2; done; fi
	@for file in $(wildcard .run/*-*.pid); do pid=$$(cat $$file); \
	  if ps -o args= -p $$pid 2> /dev/null | grep -qE 'services\.|nats-server'; then echo "stopping $$file ($$pid) …"; kill -TERM $$pid; \
	  while kill -0 $$pid 2> /dev/null; do sleep 0.2; done; fi; done
	@rm -rf .run
	@echo "nothing is running, .run is gone"

test: install ## Run all tests but those that need a Docker engine (under ten minutes)
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/integration tests/unit

test-containers: install ## Build the image, run docker-compose and place calls through it (needs a Docker engine)
	@python -m pytest tests/containers

check: install ## Lint and type-check
	@ruff check .
	@ruff format --check .
	@mypy

format: install ## Format the code
	@ruff check --fix .
	@ruff format .

image: ## Build the Docker image trunkline:dev
	docker build -t trunkline:dev .

clean: down ## Delete .venv and caches too
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
