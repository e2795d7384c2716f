# Development of a checkout; `pip install -e ".[dev]"` in the environment first.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
CLANG_FORMAT ?= $(if $(wildcard .venv/bin/clang-format),.venv/bin/clang-format,clang-format)
CC ?= cc
C_FILES = $(wildcard csrc/*.h csrc/*.c csrc/engine/* tests/*.c)

.PHONY: build test docs fuzz faults bench readme asm format lint portability wheel sanitize tsan emulated coverage mutants stateful clean

build: # in place, next to its sources
	$(PYTHON) setup.py build_ext --inplace

test: build
	$(PYTHON) -m pytest -n 2 --dist loadfile

docs: build # the site, into docs/_build/html: every page and example is run, and every warning is an error
	$(PYTHON) -m pytest -q tests/test_site.py
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(PYTHON) docs/contrast.py

fuzz: build # ten thousand damaged model files, instead of the hundreds of the tests
	FASTMLP_FUZZ=10000 $(PYTHON) -m pytest tests/test_model_files.py

faults: build # fifty fits on a Dask cluster, one of whose workers is killed at any moment, and one stopped for 30 s
	FASTMLP_FAULTS=50 $(PYTHON) -m pytest tests/test_dask_faults.py

bench: build # all rows; python -m bench --help for fewer
	$(PYTHON) -m bench

readme: # the README's tables, from the newest results of the benchmark
	$(PYTHON) -m bench --readme

asm: # what the compiler made of the engine: one file for each instruction set and dtype in build/asm
	$(PYTHON) setup.py build_ext --inplace --force --build-temp build/asm
	for object in build/asm/csrc/isa_*.o; do \
	    objdump --disassemble --no-show-raw-insn $$object > build/asm/$$(basename $$object .o).s; \
	done

format:
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format
	$(CLANG_FORMAT) -i $(C_FILES)

lint: # style, types, and the stub against the module that was built
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy.stubtest fastmlp._core --mypy-config-file pyproject.toml --ignore-disjoint-bases --allowlist tests/stubtest_allowlist.txt
	$(CLANG_FORMAT) --dry-run --Werror $(C_FILES)

portability: # the engine without Python on every platform: what runs here must give the same bits
	$(PYTHON) -m tools.portability

wheel: # source archive and wheels for every CPython of this machine into dist, each installed and tested
	$(PYTHON) -m tools.wheel

# Half of the files of tests on each of two processes. Left out are tests that preload a library of their own, those that
# run none of the engine's memory (texts, types, plots), and those that reach it only as others do: Dask's processes,
# which train by the steps of test_dask_steps; the command line; the examples of README, site and recipes, and checks of
# scikit-learn and of tables, which fit as test_estimators, test_tabular and test_sklearn_equality do; and the longest.
NOT_SANITIZED = allocations failing_memory uninitialised house typing plotting bench bench_grid \
    command_line command_line_refused command_line_tables command_line_targets command_line_told \
    dask dask_channel dask_faults dask_mpi package site site_pictures recipes tabular_recipe \
    sklearn_checks sklearn_suite tabular_checks
TOO_LONG = mnist_below or float32_of_wide_layers or memory_that_fit_adds or 515 or 4170
sanitize: # the tests on an engine with address and undefined-behaviour sanitizers; then the usual engine again
	FASTMLP_SANITIZE=1 $(PYTHON) setup.py build_ext --inplace --force --build-temp build/sanitize
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    $(PYTHON) -m pytest -n 2 --dist loadfile --durations 5 -k "not ($(TOO_LONG))" \
	    $(NOT_SANITIZED:%=--ignore tests/test_%.py); \
	status=$$?; $(PYTHON) setup.py build_ext --inplace --force && exit $$status

# Where threads of ours and of Python meet; a sanitizer is too slow for a tenth of a second, and starts no threads in the child
# of a process that has some (pyarrow's). What it finds is in reports.
tsan: # the tests of threads on an engine with the thread sanitizer; then the usual engine again
	FASTMLP_SANITIZE=thread $(PYTHON) setup.py build_ext --inplace --force --build-temp build/tsan
	rm -f build/tsan/report*
	LD_PRELOAD="$$($(CC) -print-file-name=libtsan.so)" TSAN_OPTIONS="log_path=$(CURDIR)/build/tsan/report exitcode=66" \
	    $(PYTHON) -m pytest tests/test_threads.py tests/test_concurrency.py -k "not interrupted_prediction and not child_of_a_fork"; \
	status=$$?; cat build/tsan/report* 2>/dev/null && status=66; \
	$(PYTHON) setup.py build_ext --inplace --force && exit $$status

EMULATE = $(if $(shell grep -m 1 avx512bw /proc/cpuinfo),pairs,avx512)
BFLOAT16 = bfloat16 bfloat16_estimators network bits gather gemm door door_scratch door_training threads digests
emulated: # the tests of the engine for AVX512_BF16 where the CPU has not all of it; then the usual engine again
	FASTMLP_EMULATE=$(EMULATE) $(PYTHON) setup.py build_ext --inplace --force --build-temp build/emulated
	$(PYTHON) -m pytest -n 2 $(if $(filter pairs,$(EMULATE)),-k "bfloat16 or same_bits") $(BFLOAT16:%=tests/test_%.py); \
	status=$$?; $(PYTHON) setup.py build_ext --inplace --force && exit $$status

# Once is enough: tests of the engine choose each of its instruction sets themselves. A branch of C is one of a function of
# the source, taken where any of the engines took it.
coverage: # lines and branches that the tests reach, of Python and of C (gcc); then the usual engine again
	FASTMLP_COVERAGE=1 $(PYTHON) setup.py build_ext --inplace --force --build-temp build/coverage
	$(PYTHON) -m coverage erase
	find build/coverage -name "*.gcda" -delete
	$(PYTHON) -m coverage run -m pytest -q -n 2 --dist loadfile --ignore tests/test_house.py; \
	$(PYTHON) -m coverage combine --quiet; \
	$(PYTHON) -m coverage report --skip-covered --show-missing --fail-under 97; python=$$?; \
	$(PYTHON) -m gcovr --root . --filter csrc/ --exclude-unreachable-branches --gcov-suspicious-hits-threshold 0 \
	    --merge-mode-functions separate --txt-summary --txt - --fail-under-line 95 --fail-under-branch 95 build/coverage; c=$$?; \
	$(PYTHON) setup.py build_ext --inplace --force && exit $$((python + c))

mutants: build # small mistakes in the engine, and in a sample of Python: how many do the tests notice?
	$(PYTHON) -m tools.mutants engine; engine=$$?; $(PYTHON) -m tools.mutants python; exit $$((engine + $$?))

RUNS ?= 1000
STEPS ?= 50
stateful: build # many calls in any order, other ones each time
	FASTMLP_STATEFUL_RUNS=$(RUNS) FASTMLP_STATEFUL_STEPS=$(STEPS) $(PYTHON) -m pytest tests/test_stateful.py

clean:
	rm -rf build dist *.egg-info fastmlp/*.so
