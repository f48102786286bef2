# Needs Python 3.11 or newer, make, and access to a package index; the rest is installed in $(VENV).
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help venv demo test campaign lint types format docs clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 16

venv: $(VENV)/.plain ## create the virtual environment and install maskyolo as users do (no PyTorch)

demo: $(VENV)/.plain ## detect masks in the sample images and clip with the committed weights
	$(BIN)/maskyolo detect --source data/samples --name demo
	@echo "The images and the clip with their boxes are in the folder named above: green with a mask, red without."
	@echo "Next, with a camera: $(BIN)/maskyolo detect --source 0 --show"

test: $(VENV)/.dev ## run the whole test suite (installs PyTorch and Ultralytics the first time)
	@$(BIN)/python -m pytest $(ARGS)

campaign: $(VENV)/.dev ## run the large campaign of hostile inputs (half an hour; ARGS="--seeds 7 --areas images")
	@$(BIN)/python tests/campaign/run.py $(ARGS)

lint: $(VENV)/.dev ## check style, formatting, package layers, and declared dependencies
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/deptry maskyolo

types: $(VENV)/.dev ## check types with mypy in strict mode
	@$(BIN)/mypy

format: $(VENV)/.dev ## fix style and formatting automatically where possible
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: $(VENV)/.dev ## update the reference from the commands' help, and build the documentation site in build/site
	@$(BIN)/python tools/update_reference.py
	@$(BIN)/python tools/build_docs.py

clean: ## remove the virtual environment and all caches; runs/ and data/ stay
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files: one newer than pyproject.toml means that its dependencies are installed.
# .dev includes .plain. Python compiles what it imports; compiling everything takes longer than the demo.
$(VENV)/.plain: pyproject.toml $(VENV)/.made
	@echo "Installing maskyolo into $(VENV) (about 1 GB, once) ..."
	@$(PIP) install --no-compile --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.made
	@echo "Installing maskyolo and its development tools into $(VENV) (several GB with PyTorch, once) ..."
	@$(PIP) install --editable ".[dev]"
	@$(BIN)/python tools/fix_opencv.py
	@$(BIN)/python tools/fix_mongod.py
	@touch $(VENV)/.plain $@

$(VENV)/.made:
	@python=$$(sh tools/find_python.sh) && "$$python" -m venv $(VENV) && touch $@
