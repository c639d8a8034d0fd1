# Everything a fresh machine needs: `make demo` and `make test` create .venv and install by themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# real images and weights for tests and benchmarks, where this machine has them
ifneq ($(wildcard ../shared/data/README.md),)
export HEADSTART_TEST_DATA ?= $(abspath ../shared/data)
endif

# the slow tests run in CI, and with `make test SLOW=1`
ifneq ($(CI)$(SLOW),)
MARKS := -m "slow or not slow"
else
MARKS := -m "not slow"
endif

.PHONY: install demo test coverage lint types check bench docs clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/headstart demo

# bytecode is kept: compiling the tests takes half of the start-up. Where memory serves as a disk, temporary files go
# there: thousands of small ones are flushed and removed
ifneq ($(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 1000000'),)
TEMPORARY := PYTEST_DEBUG_TEMPROOT=/dev/shm
endif
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 $(TEMPORARY) $(BIN)/python -m pytest $(MARKS) \
	-n auto --maxprocesses 4 --dist worksteal

test: $(STAMP)
	$(PYTEST)

coverage: $(STAMP)
	$(PYTEST) --cov --cov-report=term

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

bench: $(STAMP)
	$(BIN)/python benchmarks/accuracy.py
	set -e; for question in pipeline predict_one import_time memory engines near_duplicates scaling finetune finetune_speed analyses preprocessing_check peers; do $(BIN)/python benchmarks/$$question.py; done
	set -e; for trains in last-stage full; do $(BIN)/python benchmarks/peers.py --trains $$trains; done

docs: $(STAMP)
	$(BIN)/python docs/make_pictures.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
