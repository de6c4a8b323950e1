# A fresh machine needs Python 3.11+ and a network for the first target it calls; later calls work offline.
# Another interpreter: make demo PYTHON=python3.12          Another folder for the demo: make demo DEMO=outputs/other
PYTHON ?= python3
DEMO ?= outputs/demo
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LINTERS := $(VENV)/.linters-installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-long test-browser test-triton lab lint bench clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

demo: $(INSTALLED)  ## render the built-in data set, train two seeds, run all notebooks into outputs/demo
	$(BIN)/naaf run --out $(DEMO) -p members 2

# Test files side by side, each process with one thread: two threads in each would wait for one another.
test: $(INSTALLED)  ## the tests, in less than ten minutes
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile \
	    -m "not long and not browser"

test-long: $(INSTALLED)  ## the tests that take minutes each
	$(BIN)/python -m pytest -m long

test-browser: $(INSTALLED)  ## the explorer in JupyterLab and report.html, in a headless Chromium; skipped where there is none
	@if [ ! -x "$(CHROMIUM)" ]; then \
	    echo "test-browser: skipped, no Chromium is installed (on Debian: apt install chromium;" \
	         "another browser: make test-browser CHROMIUM=/path/to/chromium)"; \
	else \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fast,test,browser]' \
	    && CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest -m browser tests/browser; \
	fi

test-triton: $(INSTALLED)  ## NAAF's GPU kernels by triton's interpreter, and compiled for two GPUs; installs triton (700 MB)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fast,test,triton]'
	TRITON_INTERPRET=1 $(BIN)/python -m pytest tests/test_triton.py

lab: $(INSTALLED)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

bench: $(INSTALLED)  ## seconds and bytes of scoring, mining and training
	$(BIN)/python -m benchmarks

lint: $(LINTERS)  ## format, lint, types of the equations, one-way imports, clean notebooks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.papermill cell.metadata.papermill metadata.widgets" notebooks/*.ipynb

clean:  ## caches and builds; the environment, data/ and outputs/ stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name $(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# A virtual environment that an interrupted or incomplete `venv` left without pip is made anew.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "naaf needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1):" \
	         "name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	    echo "$(PYTHON) could not make a virtual environment: see the line above" \
	         "(on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "installing into $(VENV) (once; some minutes with a fast network)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fast,test]'
	@touch $@

$(LINTERS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fast,test,lint]'
	@touch $@
