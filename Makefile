# Set-up and the two commands, `make demo` and `make test`. `make help` explains them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

SOURCE ?= sim
FRAMES ?= 300
RATE ?= 15
OUT ?= out/demo

PYTHON := .venv/bin/python
RUN := ros2_ws/run
UNDERLAY := $(CURDIR)/.venv
GROUPS := vehicle ros demo

PIP_INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint requirements.lock

# The stand-in takes part only where no real vision_msgs is.
VISION_MSGS := $(wildcard $(addsuffix /share/vision_msgs/package.xml,$(subst :, ,$(UNDERLAY))))
BASE_PATHS := src $(if $(VISION_MSGS),,stand_in)

.PHONY: help setup demo test

help:
	@echo todo

setup: ros2_ws/build/.done

.venv/.created:
	python3 -m venv .venv
	touch $@

.venv/.demo: .venv/.created pyproject.toml requirements.lock
	$(PIP_INSTALL) --upgrade pip
	$(PIP_INSTALL) $(addprefix --group ,$(GROUPS))
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@# The wheels' CMake files carry two include paths of the machine that built them.
	grep -rl /opt/python/ .venv/share --include='*.cmake' | xargs --no-run-if-empty sed -i \
	    -e "s|/opt/python/[^;\"]*/numpy/_core/include|$$($(PYTHON) -c 'import numpy; print(numpy.get_include())')|g" \
	    -e "s|/opt/python/[^;\"]*/include/python[0-9.]*|$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')|g"
	touch $@

ros2_ws/build/.done: .venv/.demo CMakeLists.txt package.xml $(wildcard msg/*) $(shell find ros2_ws/stand_in -type f)
	source .venv/bin/activate; cd ros2_ws; \
	AMENT_PREFIX_PATH=$(UNDERLAY) CMAKE_PREFIX_PATH=$(UNDERLAY) \
	colcon --log-level error build --symlink-install --base-paths $(BASE_PATHS) \
	    --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$(CURDIR)/$(PYTHON)
	touch $@

.venv/.test: .venv/.demo
	$(PIP_INSTALL) $(addprefix --group ,$(GROUPS) train test)
	touch $@

demo: setup
	$(RUN) python -m mtl_split_lab.demo --source $(SOURCE) --frames $(FRAMES) --rate $(RATE) --out $(OUT)

test: setup .venv/.test
	ruff check
