# make demo   bakes examples/monorepo on this machine, from nothing but Python 3.11 and apt
# make test   installs what the tests need and runs them
# make check  format, lint, types
# make conformance  the cases of ../shared/conformance against the floors in tests/conformance/floors.toml
# make engine tests beside a real Docker Engine, which it unpacks under build/peers (as root, 110 MB of Debian packages)
# make bench  beside docker buildx and the Docker Engine, in one run
# make fuzz   every kind of input under libFuzzer, MINUTES=10 each; FUZZ="hcl compose" chooses

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SHARED ?= ../shared
BENCH  ?=
MINUTES ?= 10
FUZZ   ?=
TESTS  ?=

.PHONY: demo test engine check conformance bench fuzz proto clean venv venv-dev

venv: $(VENV)/.installed
venv-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml
	@.ci/packages demo
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable . --config-settings editable_mode=compat
	@$(BIN)/python -m compileall -q bakepy
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	@.ci/packages test
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]' --config-settings editable_mode=compat
	@$(BIN)/python -m compileall -q bakepy
	@touch $(VENV)/.installed $@

demo: venv
	@.ci/packages demo
	@examples/demo $(BIN)/bakepy

test: venv-dev
	@.ci/packages test
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(TESTS)

engine: venv-dev
	@.ci/packages test
	@.ci/engine build/peers
	@BAKEPY_PEERS=build/peers $(BIN)/python -m pytest tests/e2e/test_daemon.py

check: venv-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

conformance: venv-dev
	@.ci/packages test
	@$(BIN)/python -m tests.conformance.run --shared $(SHARED)

bench: venv-dev
	@.ci/packages test
	@$(BIN)/python -m tests.bench --shared $(SHARED) $(BENCH)

fuzz: venv-dev
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]' --config-settings editable_mode=compat
	@nice -n 15 $(BIN)/python -m tests.fuzz --minutes $(MINUTES) --seeds $(SHARED)/conformance $(FUZZ)

proto: venv-dev
	@$(BIN)/python -m tests.llb.generate

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis examples/*/out
