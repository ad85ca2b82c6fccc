# Each command sets up what it needs in .venv, once: `make demo` on a fresh clone is enough.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo app test check notebooks tests bench study study-survey study-votes docs export newest clean

PYTHON ?= python3
VENV := .venv
export PATH := $(abspath $(VENV))/bin:$(PATH)

# One stamp for each set of extras. `dev` holds all the others: where it is installed, it serves for them.
installed = $(VENV)/.installed-$(if $(wildcard $(VENV)/.installed-dev),dev,$(1))

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(call installed,train)  ## run the whole path on the practice server: votes, classifier, report
	@camtraps demo --out demo

app: demo/bundle/bundle.json $(call installed,app)  ## serve the page that names the animal, with the demo's classifier
	@camtraps app --bundle demo/bundle

demo/bundle/bundle.json:
	@$(MAKE) --no-print-directory demo

# Four notebooks, or four files of tests, run at a time, also on two cores: half of their time they wait for a server, a browser or a process.
# They share the cores, or their threads would fight over them.
check notebooks tests: export OMP_NUM_THREADS := $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n > 4 ? n / 4 : 1)))
check notebooks tests: export MPLBACKEND := Agg
check notebooks tests: export JUPYTER_PLATFORM_DIRS := 1
check notebooks tests: export GRADIO_ANALYTICS_ENABLED := False
test: check notebooks tests  ## check that exports are in sync, run the notebooks, run the tests

check: $(call installed,dev)  ## check that modules, app.py and README.md are what the notebooks make, and lint and type-check them
	@python tools/check.py
	@ruff check --quiet .
	@basedpyright --level error

notebooks: $(call installed,dev)  ## run every notebook
	@nbdev_test --flags slow --n_workers 4 --do_print

tests: $(call installed,dev)  ## run the tests of tests/
	@python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

bench: $(call installed,dev)  ## measure speed against the stated rivals: some minutes, or ONLY=fetch, clean, images, train, predict, app, browser, results, season or review
	@python -W ignore tools/bench.py $(ONLY)

study: $(call installed,dev)  ## measure the recipes on real frames, out of fold, within an hour: make study FRAMES=folder; or one BACKBONE=name (SIZE=pixels)
	@python -W ignore tools/$(if $(BACKBONE),study_backbone,study).py $(FRAMES) $(BACKBONE) $(SIZE)

study-survey: $(call installed,dev)  ## measure how often corrected before/after answers hold the truth, on simulated seasons: half an hour
	@python -W ignore tools/study_survey.py

study-votes: $(call installed,dev)  ## measure how many votes a model's scores save, on practice servers and simulated crowds: ten minutes
	@python -W ignore tools/study_votes.py

docs: $(call installed,dev)  ## build the site of the notebooks in _docs
	@python -W ignore tools/docs.py

export: $(call installed,dev)  ## after editing notebooks: clean them, make the modules, app.py and README.md
	@python tools/export.py

newest: $(VENV)/bin/python  ## run the demo, the app and a dry run of publishing with the newest releases that settings.ini admits
	@python tools/newest.py

clean:  ## remove what these commands made, except .venv
	@rm -rf _proc _docs build dist *.egg-info demo study .pytest_cache .hypothesis tests/screenshots

$(VENV)/.installed-%: settings.ini setup.py constraints.txt | $(VENV)/bin/python
	@echo 'Installing urbanrivers_camtraps[$*] into $(VENV): once, a few minutes.'
	@python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@$(if $(filter dev,$*),python -m pip install -qq --disable-pip-version-check --no-deps -r tests/field_tools.txt)
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, and " \
		"$(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
