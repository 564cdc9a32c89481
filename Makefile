# Everything runs in $(VENV), which `make setup` fills once, and again when the requirements change.
PYTHON ?= python3
VENV ?= .venv
# Installed first, since what the others ask for is any torch: the newest. A torch that is already in $(VENV) stays.
TORCH ?= $(if $(wildcard $(VENV)/lib/python3*/site-packages/torch),torch,torch==2.13.0)
# onedl or openmmlab: see requirements/.
STACK ?= onedl

# Named again beside what asks for torchvision: otherwise pip takes the newest one, and the torch that goes with it.
TORCH_VERSION := from importlib.metadata import version; print(version("torch"))

# The backbones of some of MMSegmentation's configs, which the tests convert.
MMPRETRAIN := $(if $(filter onedl,$(STACK)),onedl-)mmpretrain

PY := $(VENV)/bin/python
MMPOSE = $(PY) -m pip install --no-deps --no-build-isolation -r requirements/mmpose.txt
STAMP := $(VENV)/.installed-$(STACK)

.PHONY: help setup test lint format demo clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## install everything in .venv (PYTHON=python3.12, TORCH=..., STACK=openmmlab)

$(STAMP): setup.py $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
	    echo 'dsrl_mm needs Python 3.10 to 3.12, but $(PYTHON) is another, or missing. Type: make setup PYTHON=python3.11'; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install '$(TORCH)'
	$(PY) -m pip install -e '.[$(STACK),test,timm,pose]' $(MMPRETRAIN) "torch==$$($(PY) -c '$(TORCH_VERSION)')"
	$(MMPOSE) || { echo 'MMPose was not installed: the reason is above. One of its packages needs a C compiler.'; \
	    echo 'Segmentation works without. For poses, type later: $(MMPOSE)'; }
	@touch $@

# PATH: tools/*.sh call torchrun. One thread: more of them on the tests' small tensors mostly wait for each other.
test: $(STAMP)  ## run the tests
	PATH="$(abspath $(VENV))/bin:$$PATH" OMP_NUM_THREADS=1 $(PY) -m pytest

lint: $(STAMP)  ## check style and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(STAMP)  ## mend what lint can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

demo: $(STAMP)  ## train and compare DSRL and its baseline on generated scenes
	$(PY) -m projects.street_scenes

clean:  ## remove .venv
	rm -rf $(VENV)
