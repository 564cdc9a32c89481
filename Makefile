# Everything runs in $(VENV), which `make setup` fills once, and again when the requirements change.
PYTHON ?= python3
VENV ?= .venv
# Installed first, since what the others ask for is any torch: the newest. A torch that is already in $(VENV) stays.
TORCH ?= $(if $(wildcard $(VENV)/lib/python3*/site-packages/torch),torch,torch==2.13.0)
# onedl or openmmlab: see requirements/.
STACK ?= onedl

# Named again with what asks for torchvision: otherwise pip takes the newest one, and the torch that goes with it.
TORCH_VERSION := from importlib.metadata import version; print(version("torch"))

# The backbones of some of MMSegmentation's configs, which the tests convert.
MMPRETRAIN := $(if $(filter onedl,$(STACK)),onedl-)mmpretrain

PY := $(VENV)/bin/python
MMPOSE = $(PY) -m pip install --no-deps --no-build-isolation -r requirements/mmpose.txt
STAMP := $(VENV)/.installed-$(STACK)

.PHONY: help setup demo web test lint docs tables format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## install everything in .venv (PYTHON=python3.12, TORCH=..., STACK=openmmlab)

$(STAMP): pyproject.toml setup.py $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
	    echo 'dsrl_mm needs Python 3.10 to 3.12, but $(PYTHON) is another, or missing. Type: make setup PYTHON=python3.11'; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install '$(TORCH)'
	$(PY) -m pip install -e '.[$(STACK),timm,pose,export,nncf,hub,video,test,docs,experiments]' $(MMPRETRAIN) "torch==$$($(PY) -c '$(TORCH_VERSION)')"
	$(MMPOSE) || { echo 'MMPose was not installed: the reason is above. One of its packages needs a C compiler.'; \
	    echo 'Segmentation works without. For poses, type later: $(MMPOSE)'; }
	@touch $@

demo: $(STAMP)  ## train and compare DSRL and its baseline on generated scenes
	$(PY) -m projects.street_scenes

web: $(STAMP) projects/web/node_modules  ## build the page that runs the model zoo in a browser, in projects/web/dist
	$(PY) -m projects.web

projects/web/node_modules: projects/web/package-lock.json
	@command -v npm >/dev/null || { echo 'npm is missing. It comes with Node.js; on Debian: apt-get install npm'; exit 1; }
	npm ci --prefix projects/web
	@touch $@

# PATH: tools/*.sh call torchrun. One thread for each process: more of them on the tests' small tensors mostly wait.
test: $(STAMP)  ## run the tests on all cores
	PATH="$(abspath $(VENV))/bin:$$PATH" OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile

lint: $(STAMP)  ## check style, format and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-cache --no-logo

docs: $(STAMP)  ## build the documentation site in docs/_build/html
	$(PY) -m sphinx -W --keep-going -q docs docs/_build/html

tables: $(STAMP)  ## write docs/_generated and the README's table from the records of experiments
	$(PY) -m projects.experiments.tables

format: $(STAMP)  ## fix what ruff can fix
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:  ## remove .venv, the built site and the page
	rm -rf $(VENV) docs/_build projects/web/dist projects/web/node_modules
