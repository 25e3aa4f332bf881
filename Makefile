# The two commands a newcomer needs are `make demo` and `make test`; both do their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := build/native
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of interpreters, and each would compile pitcore again.
unexport PYTHONDONTWRITEBYTECODE
CPP_SOURCES := $(shell find csrc tests/native -name '*.cpp' -o -name '*.h')

# Many tests wait: for a service, a timeout, a browser. So there are two test processes for each core. A process with
# nothing left to do takes tests from the others, so that no long file is left at the end.
CORES := $(shell env -u OMP_NUM_THREADS nproc)
PARALLEL := --numprocesses $(shell echo $$(($(CORES) * 2))) --dist worksteal
# The stages of a frame, the loop around them, the layers and the documents: none imports torch.
FAST := $(addprefix tests/,actuation belt config control decision emulator inference line_watch loop preprocess sinks)
FAST += $(filter-out tests/test_examples.py,$(wildcard tests/test_*.py))

.PHONY: demo ota-demo loop-demo test test-fast test-full tools peers test-arm native-test sanitize lint format wheels docs deb deb-amd64 deb-arm64 test-deb test-systemd clean
.DELETE_ON_ERROR:

demo: $(VENV)/.board ## set up and run the main job on the emulated belt
	$(BIN)/pitcore demo

ota-demo: $(VENV)/.workstation ## two boards, a publisher, a server: roll-out, patches, a bad model that rolls itself back (two minutes)
	$(BIN)/python -m tests.ota.timeline

loop-demo: $(VENV)/.workstation ## belt, kept crops, labels by a script, a short training, release, a board takes it (some minutes)
	$(BIN)/python -m tests.loop_demo

test: $(VENV)/.workstation native-test ## set up and run the tests, with coverage
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term

test-full: $(VENV)/.workstation native-test ## the same with every case of the longest matrices, before a release
	$(BIN)/python -m pytest $(PARALLEL) -m '' --cov --cov-report=term

test-fast: $(VENV)/.workstation ## what a change touches most, without coverage: under 90 seconds on two cores
	$(BIN)/python -m pytest $(PARALLEL) $(FAST)

tools: $(VENV)/.workstation ## pitcore-tools (torch, onnx, ...) in .venv: about 1.5 GB, two to five minutes

peers: $(VENV)/.peers ## pitcore beside OpenCV, OpenVINO, ncnn and torch, on this machine: about five minutes
	$(BIN)/pitcore-tools peers

test-arm: $(VENV)/.wheels ## the same verdicts on a Cortex-A76, a Cortex-A72 and an x86-64 without VNNI, emulated
	tools/wheels/build.sh 3.11 aarch64
	$(BIN)/python tests/arm/lane.py

native-test: $(VENV)/.workstation ## the C++ core's own tests
	$(BIN)/cmake -S . -B $(NATIVE) -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPITCORE_TESTS=ON -DPITCORE_PYTHON=OFF
	$(BIN)/cmake --build $(NATIVE)
	$(BIN)/ctest --test-dir $(NATIVE) --output-on-failure

sanitize: $(VENV)/.workstation ## the same under AddressSanitizer and UBSan
	$(BIN)/cmake -S . -B $(NATIVE)-sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPITCORE_TESTS=ON -DPITCORE_PYTHON=OFF -DPITCORE_SANITIZE=address,undefined
	$(BIN)/cmake --build $(NATIVE)-sanitize
	$(BIN)/ctest --test-dir $(NATIVE)-sanitize --output-on-failure

lint: $(VENV)/.workstation ## every static gate; nothing is changed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP_SOURCES)

format: $(VENV)/.workstation ## rewrite in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_SOURCES)

wheels: $(VENV)/.wheels ## dist/: CPython 3.11 and 3.13, x86_64 and aarch64, and the sdist
	tools/wheels/build.sh all

deb: deb-amd64 deb-arm64 ## dist/: the package for Debian 12 and 64-bit Raspberry Pi OS

deb-amd64 deb-arm64: deb-%: $(VENV)/.wheels
	tools/wheels/build.sh 3.11 $(if $(filter arm64,$*),aarch64,x86_64)
	tools/debian/build.sh $*

docs: $(VENV)/.docs ## build/site: docs/ as a web site; fails at any warning, a broken link included
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict # with --quiet it passes over warnings

DEB_ARCH := amd64,arm64
test-deb: $(VENV)/.debian ## both packages in clean Debian roots without a network, after `make deb`; as root
	$(BIN)/python tests/debian/package_lane.py --arch $(DEB_ARCH)

test-systemd: $(VENV)/.debian ## the service under a real systemd in a container, after `make deb`; as root
	$(BIN)/python tests/debian/systemd_lane.py

clean: ## remove everything that was built or installed here
	rm -rf $(VENV) build dist out *.egg-info tools/*.egg-info pitcore/preprocess/_core*.so pitcore/actuation/schedule*.so

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pitcore needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# The board's part: no torch. Built again when the C++ core or the packaging changes.
$(VENV)/.board: $(VENV)/bin/python pyproject.toml setup.py CMakeLists.txt constraints.txt pitcore/actuation/schedule.py pitcore/actuation/schedule.pxd $(shell find csrc -name '*.cpp' -o -name '*.h')
	$(BIN)/pip install --quiet --editable '.[ota]'
	touch $@

# The workstation's part and the gates on top.
$(VENV)/.workstation: $(VENV)/.board tools/pyproject.toml
	$(BIN)/pip install --quiet --editable '.[dev,ota,video,contract]'
	$(BIN)/pip install --quiet --editable 'tools[archive,label]' # apart: pip takes no two sets of extras of one local package at once
	$(BIN)/pip install --quiet --no-deps picamera2 # the rest of it exists on a board only; the contract tests import its code
	touch $@

$(VENV)/.peers: $(VENV)/.workstation
	$(BIN)/pip install --quiet --editable 'tools[peers]'
	touch $@

# What builds the pages, which needs nothing of pitcore: the extra `docs` alone, so that the C++ core is not built for it.
EXTRA_DOCS := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")
$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -c '$(EXTRA_DOCS)' >$(VENV)/docs.txt
	$(BIN)/pip install --quiet --requirement $(VENV)/docs.txt
	touch $@

# What builds for, and emulates, other machines.
$(VENV)/.wheels: $(VENV)/.workstation
	command -v qemu-aarch64 >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends qemu-user >/dev/null; }
	$(BIN)/pip install --quiet --editable '.[wheels]'
	touch $@

# What makes clean Debian roots, boots them, and runs those of another machine.
DEBIAN_TOOLS := debootstrap systemd-container qemu-user-static binfmt-support lintian
$(VENV)/.debian: $(VENV)/.wheels
	dpkg -s $(DEBIAN_TOOLS) >/dev/null 2>&1 || { apt-get -qq update && apt-get -qq install -y --no-install-recommends $(DEBIAN_TOOLS) >/dev/null; }
	touch $@
