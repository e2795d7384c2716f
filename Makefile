# Development of a checkout; `pip install -e ".[dev]"` in the environment first.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
CLANG_FORMAT ?= $(if $(wildcard .venv/bin/clang-format),.venv/bin/clang-format,clang-format)
CC ?= cc
C_FILES = $(wildcard csrc/*.h csrc/*.c csrc/engine/* tests/*.c)

.PHONY: build test bench readme asm format lint portability wheel sanitize clean

build: # in place, next to its sources
	$(PYTHON) setup.py build_ext --inplace

test: build
	$(PYTHON) -m pytest

bench: build # all rows; python -m bench --help for fewer
	$(PYTHON) -m bench

readme: # the README's table, from the newest result of the benchmark
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
	$(PYTHON) -m bench.portability

wheel: # source archive and wheels for every CPython of this machine into dist, each installed and tested
	$(PYTHON) -m bench.wheel

# test_allocations.py preloads a library of its own.
sanitize: # the tests on an engine with address and undefined-behaviour sanitizers; then the usual engine again
	FASTMLP_SANITIZE=1 $(PYTHON) setup.py build_ext --inplace --force --build-temp build/sanitize
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0 $(PYTHON) -m pytest --ignore tests/test_allocations.py; \
	status=$$?; $(PYTHON) setup.py build_ext --inplace --force && exit $$status

clean:
	rm -rf build dist *.egg-info fastmlp/*.so
