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
UPGRADE ?=
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
CALLS ?= 20
COUNT ?= 100
NUMBER ?=
DRY_RUN ?=
SERVICES := gateway stt llm tts speech
TAG ?= dev
REGISTRY ?=

.PHONY: help install lock call call-vendors scenarios interruptions load bench guard chaos leaks up down number images kind-up kind-down test test-containers check format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements/dev.txt
	@echo "installing Trunkline into $(VENV) (about a minute, the first time) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	@set -o pipefail; $(BIN)/python -m pip install -r requirements/dev.txt \
	  | awk '/^Collecting/ {n++; printf "\r  %d packages found …", n} /^Installing/ {printf "\n  installing them …"} {fflush()} END {print ""}'
	@touch $@

install: $(VENV)/.installed ## Create .venv and install the pinned dependencies

lock: install ## Pin what requirements/*.in name, and all that those need; UPGRADE=openai takes its newest version
	@$(COMPILE) $(if $(UPGRADE),--upgrade-package $(UPGRADE)) requirements/dev.in -o requirements/dev.txt
	@for service in gateway stt llm tts speech; do \
	  $(COMPILE) -c requirements/dev.txt --excludes requirements/excluded.txt requirements/$$service.in -o requirements/$$service.txt || exit 1; done

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

number: install ## List your Twilio numbers, or point NUMBER=+1… at PUBLIC_URL or URL=https://…; DRY_RUN=1 only shows it
	@python -m services.gateway.twilio $(if $(NUMBER),--number "$(NUMBER)") $(if $(URL),--url "$(URL)") $(if $(DRY_RUN),--dry-run)

images: ## Build an image for each service, trunkline-stt:dev and so on; TAG=0.1.0, REGISTRY=registry.example.com name them for elsewhere
	@for service in $(SERVICES); do \
	  name=$(if $(REGISTRY),$(REGISTRY)/)trunkline-$$service:$(TAG); echo "building $$name …"; \
	  docker build --quiet --target $$service --tag "$$name" \
	    --build-arg VERSION=$(TAG) --build-arg REVISION="$$(git describe --always --dirty 2> /dev/null)" . || exit 1; done
	@docker images --filter label=org.opencontainers.image.vendor=Trunkline --filter "reference=*trunkline-*:$(TAG)" --format '{{.Repository}}:{{.Tag}} {{.Size}}'

kind-up: ## Run everything in a kind cluster on this machine (needs kind, kubectl, a Docker engine and `make images`)
	@k8s/overlays/local/up.sh

kind-down: ## Delete that cluster and its data
	@kind delete cluster --name trunkline

test: install ## Run all tests but those that need a Docker engine (under ten minutes)
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/integration tests/unit

test-containers: install ## Build the images, run docker-compose, place 20 calls and kill containers meanwhile (needs a Docker engine)
	@docker version > /dev/null 2>&1 || { echo "no Docker engine answers: start one, or run make test, which needs none"; exit 1; }
	@$(MAKE) --no-print-directory images
	@python -m pytest -v tests/containers

check: install ## Lint and type-check
	@ruff check .
	@ruff format --check .
	@mypy

format: install ## Format the code
	@ruff check --fix .
	@ruff format .

clean: down ## Delete .venv and caches too
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
