# Everything is installed into .venv, once; pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS ...) apply.
# PYTHON chooses the interpreter that makes .venv, ARGS is passed on: make test ARGS="-k floor"
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help demo refresh-smoke test test-slow check format bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo 'make demo       train the smoke study, judge its predictions, write its report'
	@echo 'make test       run the tests             make test-slow  the long ones'
	@echo 'make check      formatting, lint, types and layers'
	@echo 'make format     put formatting right      make bench      measure what is promised'
	@echo 'make refresh-smoke  write a finished demo (FROM=demo) into studies/smoke'
	@echo 'make clean      remove .venv and caches'

demo: $(VENV)/demo.stamp
	@$(BIN)/leonids demo $(ARGS)

# What studies/smoke shows of itself, from a finished demo: make refresh-smoke FROM=folder
FROM ?= demo

refresh-smoke: $(VENV)/demo.stamp
	@[ -f '$(FROM)/ledger.jsonl' ] || { echo '$(FROM) holds no study: make demo first, or make refresh-smoke FROM=folder' >&2; exit 1; }
	@$(BIN)/leonids report '$(FROM)'
	@cp '$(FROM)/report.md' studies/smoke/report.md
	@rm -rf studies/smoke/figures && cp -R '$(FROM)/figures' studies/smoke/figures

# The page's own tests need a Chromium; where there is none, the rest is run.
MARKS := not slow$(if $(shell command -v chromium),, and not browser)
# So do the tests of reasoning-gym's own items need that package.
WITHOUT_GYM = $(BIN)/python -c 'from importlib.util import find_spec as f; print("" if f("reasoning_gym") else " and not gym")'

test: $(VENV)/dev.stamp
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "$(MARKS)$$($(WITHOUT_GYM))" $(ARGS)

test-slow: $(VENV)/dev.stamp
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp
	@failed=; for script in benchmarks/*.py; do \
	  echo "== $$script"; $(BIN)/python "$$script" $(ARGS) || failed="$$failed $$script"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

clean:
	rm -rf $(VENV) dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# .venv/whole holds this folder's path from the end of one installation to the start of the next. Where it is
# missing or names another folder, an installation was cut short or the folder was moved: pip takes a
# half-written package for an installed one, so .venv is then made anew.
WHOLE = [ -x $(BIN)/python ] && [ "$$(cat $(VENV)/whole 2>/dev/null)" = "$(CURDIR)" ]
ifneq ($(shell $(WHOLE) && echo whole),whole)
.PHONY: $(VENV)/demo.stamp $(VENV)/dev.stamp
endif

$(VENV)/demo.stamp: EXTRAS = train,web,report
$(VENV)/dev.stamp: EXTRAS = train,web,report,dev
$(VENV)/dev.stamp: ALSO = reasoning-gym
$(VENV)/demo.stamp $(VENV)/dev.stamp: pyproject.toml
	@$(WHOLE) || { \
	  command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there: leonids needs Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }; \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$(PYTHON) is $$($(PYTHON) --version 2>&1): leonids needs Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }; \
	  rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@echo 'installing leonids[$(EXTRAS)] into $(VENV): once, and torch is large'
	@rm -f $(VENV)/whole
	@$(BIN)/python -m pip install --editable '.[$(EXTRAS)]'
	@[ -z '$(ALSO)' ] || $(BIN)/python -m pip install --editable '.[$(ALSO)]' || \
	  echo '$(ALSO) cannot be installed, as where there is no C compiler: its own tests (marker gym) are left out' >&2
	@printf '%s' "$(CURDIR)" > $(VENV)/whole
	@touch $@
