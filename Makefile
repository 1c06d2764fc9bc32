# One command each: `make demo` shows it, `make test` checks it. Both install what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BUILD  := pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*.* native/checker/* native/wide/* lean/*.lean lean/CertVQ/*.lean)

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The sanitizers of the native tests; a report ends the run.
SANITIZE     := address;undefined;float-cast-overflow
WORKERS      ?= auto
FUZZ_SECONDS ?= 30
FUZZ_SEED    ?= 0
CASES        ?= 400
NATIVE       := build/native

.PHONY: demo test test-all mutants native-test native-test-arm fuzz check lint types format bench site wheel gpu-test gpu-bench lean clean help

help:            ## list the targets
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

demo: $(VENV)/.demo  ## train, tokenize, audit and decode photographs; write the page
	$(BIN)/certvq demo --out runs/demo

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist worksteal

test: $(VENV)/.dev  ## run the quick tests, in minutes; WORKERS processes of one thread each
	$(PYTEST) --tier quick

test-all: $(VENV)/.dev  ## run all tests
	$(PYTEST) --tier all

SHARD ?= 1/1
mutants: $(VENV)/.dev  ## break the library on purpose: one test must fail for each; SHARD=1/4 is a part
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py --shard $(SHARD)

native-test:     ## test the kernels without Python: CASES with sanitizers, some for ARM under qemu
	cmake -S native/tests -B $(NATIVE)/sanitized -DCERTVQ_SANITIZE='$(SANITIZE)'
	cmake --build $(NATIVE)/sanitized -j2 --target kernel_test
	$(NATIVE)/sanitized/kernel_test --self-test
	$(NATIVE)/sanitized/kernel_test --cases $(CASES)
	@if command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64-static >/dev/null; then \
	$(MAKE) native-test-arm; \
	elif [ -n "$$CI" ]; then echo "CI needs g++-aarch64-linux-gnu and qemu-user-static"; exit 1; \
	else echo "ARM is not tested: install g++-aarch64-linux-gnu and qemu-user-static"; fi

native-test-arm:
	cmake -S native/tests -B $(NATIVE)/aarch64 -DCERTVQ_SANITIZE='undefined;float-cast-overflow' \
		-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/native/tests/aarch64.cmake
	cmake --build $(NATIVE)/aarch64 -j2
	qemu-aarch64-static $(NATIVE)/aarch64/kernel_test --self-test
	qemu-aarch64-static $(NATIVE)/aarch64/kernel_test --cases 90 --work 100000

fuzz: $(VENV)/.fuzz  ## fuzz the binding layer for FUZZ_SECONDS, half of them with sanitizers; FUZZ_SEED=0 is any
	cmake -S native/tests -B $(NATIVE)/sanitized -DCERTVQ_SANITIZE='$(SANITIZE)' \
		-DPython_EXECUTABLE=$(abspath $(BIN)/python) \
		-Dnanobind_DIR=$$($(BIN)/python -m nanobind --cmake_dir)
	cmake --build $(NATIVE)/sanitized -j2 --target _kernel
	mkdir -p $(NATIVE)/corpus
	$(BIN)/python native/tests/fuzz_binding.py --self-test
	$(FUZZ) $(NATIVE)/corpus
	CERTVQ_FUZZ_KERNEL=$$(echo $(NATIVE)/sanitized/_kernel*.so) \
	ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64 \
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	$(FUZZ) -detect_leaks=0

FUZZ = $(BIN)/python native/tests/fuzz_binding.py -max_len=2000 -artifact_prefix=$(NATIVE)/ \
	-max_total_time=$$(($(FUZZ_SECONDS) / 2)) -seed=$(FUZZ_SEED)

check: lint types  ## lint, format and types

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench  ## measure against the peers; writes bench/results
	$(BIN)/certvq bench assign --out bench/results

# These two need a GPU, a checkout, and a Python with torch, Triton, NumPy and pytest; nothing is built.
GPU := PYTHONPATH=src TRITON_INTERPRET=0 $(PYTHON)

gpu-test:        ## test the Triton backend compiled, on a GPU; writes bench/results/gpu-test.json
	$(GPU) bench/gpu_suite.py --out bench/results/gpu-test.json

gpu-bench:       ## time the Triton backend on a GPU; writes bench/results/gpu-bench.json
	$(GPU) bench/gpu.py --out bench/results/gpu-bench.json

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); false)

# With build tools that stay where they are, so that another install compiles only what changed.
INSTALL := $(BIN)/python -m pip install --no-build-isolation -e

$(VENV)/.tools: constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install scikit-build-core nanobind cmake ninja
	touch $@

$(VENV)/.demo: $(BUILD) | $(VENV)/.tools
	$(INSTALL) '.[all]'
	touch $@

$(VENV)/.dev: $(BUILD) | $(VENV)/.tools
	$(INSTALL) '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/.fuzz: $(VENV)/.dev
	$(BIN)/python -m pip install atheris
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(INSTALL) '.[bench]'
	touch $@

$(VENV)/.site: $(VENV)/.dev
	$(INSTALL) '.[docs]'
	touch $@

site: $(VENV)/.site mkdocs.yml  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

wheel: $(VENV)/.dev  ## build an sdist and a wheel from it into dist/, try the wheel in a new environment
	rm -rf dist build/wheel
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install dist/*.whl
	build/wheel/bin/python tests/repo/wheel_smoke.py
	$(BIN)/python -m mypy --strict --python-executable build/wheel/bin/python tests/repo/user_scripts/arrays.py
	$(BIN)/pyright --pythonpath build/wheel/bin/python tests/repo/user_scripts/arrays.py

lean: $(VENV)/.dev  ## check all Lean files (fetches Lean from npm if there is none)
	$(BIN)/python -m certvq.theory._lean_check

clean:           ## remove what was built
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis src/certvq/_native/*.so src/certvq/_checker/*.so
