# Everything a newcomer needs: `make demo` and `make test`. Needs Python 3.11 or 3.12 and a package index.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
READY := .venv/.ready

.PHONY: demo test up env kernel notebooks soak mutants lint lock clean help

demo: kernel ## replay real shopping data through the real path; DEMO_ARGS="--days 60" for less of it
	$(PY) -m kairos demo $(DEMO_ARGS)

test: kernel lint ## lint, types, and every test, real servers included
	$(PY) -m pytest -q -n 2 --dist loadfile -m "not soak" $(TEST_ARGS)

up: kernel ## the whole stack until Ctrl-C; PLAYBOOK=superapp for another, SIMULATE=200 feeds it simulated customers
	$(if $(PLAYBOOK),KAIROS_PLAYBOOK=playbooks/$(PLAYBOOK)) $(PY) -m kairos up $(if $(SIMULATE),--simulate $(SIMULATE)) $(UP_ARGS)

env: $(READY) ## the environment in .venv

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or 3.12 on PATH, found none: install one or run make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version); some 240 packages, two to three minutes the first time"
	@test -x $(PY) || $(PYTHON) -m venv .venv || { echo "this Python cannot make environments: install its venv module, or another Python, and say make PYTHON=..."; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

kernel: env ## compile what events and decisions pass through; two to three minutes, once
	@$(PY) -m features.kernel

notebooks: kernel ## open the notebooks
	$(PY) -m jupyter lab experiments/notebooks

lint: env ## style, then strict types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

soak: kernel ## what takes longer than `make test` may
	$(PY) -m kairos dst --minutes 10
	$(PY) -m kairos simulate --customers 100 --days 28 --seed 1
	$(PY) -m kairos soak

mutants: kernel ## every committed mutant must turn the tests red
	$(PY) -m kairos mutants

lock: ## pin every requirement anew, with hashes (needs uv on PATH)
	uv pip compile --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header -q pyproject.toml -o requirements.txt

clean: ## forget runs and caches; the environment stays
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
