# vstain: `make` lists what can be made.
SHELL := bash
VENV := .venv
LATEST := .venv-latest
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LATEST_STAMP := $(LATEST)/.installed
PROJECT := settings.ini setup.py pyproject.toml

# The first Python that is new enough and can make environments, the tested versions before newer ones; PYTHON=... overrides.
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do $$p -c '$(USABLE)' 2>/dev/null && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help env lab test test-latest demo export docs preview quarto constraints clean print-python

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "make %-12s %s\n", $$1, $$2}'

env: $(STAMP)  ## .venv with the package and all that its development needs, in the tested versions

define usable_python
@$(or $(PYTHON),false) -c '$(USABLE)' 2>/dev/null || { echo "vstain needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt install python3-venv); name one with make PYTHON=/path/to/python" >&2; exit 1; }
endef

# fastai asks for torchvision and pip brings the build for CUDA, which torch's CPU build cannot load; an import that finds none does better
# than one that fails halfway: fastai, timm, torchmetrics and lightning look whether it is there. Nothing of ours needs it.
define drop_broken_torchvision
@! $(1)/python -m pip show -qq torchvision || $(1)/python -c 'import torchvision' 2>/dev/null || { \
	echo "torchvision cannot be imported beside this torch: taken out again (pip check will miss it for fastai; only fastai.vision needs it)"; \
	$(1)/python -m pip uninstall -qq -y torchvision; }
endef

$(STAMP): $(PROJECT) constraints.txt
	$(usable_python)
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (minutes the first time)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(call drop_broken_torchvision,$(BIN))
	@touch $@

# Everything newest but torch, and without nbdev, which would hold fastcore back
$(LATEST_STAMP): $(PROJECT) constraints.txt
	$(usable_python)
	@test -x $(LATEST)/bin/pip || $(PYTHON) -m venv $(LATEST)
	@echo "Installing into $(LATEST) (minutes the first time)"
	@grep -E '^torch(vision)?==' constraints.txt > $(LATEST)/constraints.txt
	$(LATEST)/bin/python -m pip install --disable-pip-version-check --upgrade -c $(LATEST)/constraints.txt -e '.[remote]' 'fastcore>=2' fastai nbclient ipykernel
	$(call drop_broken_torchvision,$(LATEST)/bin)
	@touch $@

lab: env  ## JupyterLab with the tutorials; LAB='--no-browser --port 8889' hands options on
	@$(BIN)/jupyter lab --ServerApp.root_dir=nbs --LabApp.default_url=/lab/tree/tutorials/01_first_stain.ipynb $(LAB)

# THREADS=4 a notebook, BF16=1 (or 0) as if the processor had bfloat16 (or not), SHUFFLE=7 (or random) for another order
TEST = $(if $(BF16),VSTAIN_BF16=$(BF16)) $(1)/python tools/test.py $(if $(FLAGS),--flags '$(FLAGS)') $(if $(THREADS),--threads $(THREADS)) $(if $(SHUFFLE),--shuffle=$(SHUFFLE))

test: env  ## checks that all is in step, then the tests in every notebook; NB=10_store for some, FLAGS=slow for flagged cells too
	@$(call TEST,$(BIN)) $(NB)

test-latest: $(LATEST_STAMP)  ## the same notebooks with the newest fastai and fastcore
	@$(call TEST,$(LATEST)/bin) --plain $(NB)

demo: env  ## simulated plate to scored prediction in about ten minutes; everything lands in demo/
	@$(BIN)/vstain demo

export: env  ## after a change to a notebook: write vstain/, clean the notebooks, write README.md
	@$(BIN)/nbdev_export
	@$(BIN)/nbdev_clean
	@$(BIN)/python tools/readme.py

docs: quarto env  ## the site, into _docs/
	@$(BIN)/python tools/docs.py build

preview: quarto env  ## the site, served here and renewed as notebooks change
	@$(BIN)/python tools/docs.py preview

# nbdev's own commands would try to install Quarto by sudo; nothing here gets that far without it.
quarto:
	@command -v quarto >/dev/null || { echo "The site needs Quarto, which is not on the PATH: install it from https://quarto.org/docs/get-started and run this again. Nothing else here needs it." >&2; exit 1; }

constraints: env  ## write constraints.txt from what is installed in .venv
	@{ head -1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; \
		$(BIN)/python -m pip show -qq torchvision || grep '^torchvision==' constraints.txt; } > constraints.new
	@mv constraints.new constraints.txt && touch $(STAMP)

print-python:
	@echo $(PYTHON)

clean:  ## remove what was built (not the environments)
	rm -rf _proc _docs build dist *.egg-info nbs/nbdev.yml
