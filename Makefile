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

.PHONY: install demo test coverage lowest lint types types-js check bench docs outputs pictures release extras clean

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

# the oldest versions that pyproject.toml allows: a bound that nobody tries is a guess
lowest:
	$(PYTHON) -m venv --clear .envs/lowest
	.envs/lowest/bin/python -m pip install --quiet uv
	.envs/lowest/bin/uv pip install --quiet --python .envs/lowest/bin/python --resolution lowest-direct --editable ".[dev,hub]"
	$(subst $(BIN),.envs/lowest/bin,$(PYTEST)) -W ignore::DeprecationWarning -W ignore::FutureWarning

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

# the page of the studio is JavaScript without a build step; its types are in comments. Needs npx and the npm registry
types-js:
	npx --yes --prefer-offline -p typescript@5.9.3 tsc -p .

check: lint types test

bench: $(STAMP)
	$(BIN)/python benchmarks/accuracy.py
	set -e; for question in pipeline predict_one import_time memory engines near_duplicates scaling finetune finetune_speed analyses preprocessing_check peers step_precision; do $(BIN)/python benchmarks/$$question.py; done
	set -e; for trains in last-stage full; do $(BIN)/python benchmarks/peers.py --trains $$trains; done

# the tests of the studio in a browser need Debian's chromium (apt-get install chromium) and the package playwright, which
# is in the extra `test`; without either they are skipped with a word. HEADSTART_AXE=axe.min.js (npm pack axe-core) checks
# accessibility, too, and HEADSTART_ORT_WEB=onnxruntime-web-1.30.0.tgz (npm pack) runs the static page in it; CI has both
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/python -m sphinx -j auto -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

# docs/outputs: what pages and notebooks print, run anew; the build of the site pastes it, and a slow test compares it
outputs: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python docs/stored.py

pictures: $(STAMP)
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/make_cast.py

# dist/: wheel and source distribution, built in a fresh environment and checked
release: $(STAMP)
	$(BIN)/python -m pip install --quiet build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python .ci/check_distribution.py dist/*

# each extra in a fresh environment of its own: half an hour, mostly downloads; EXTRAS="lite onnx" for some
extras: release
	$(BIN)/python .ci/extras.py dist/*.whl $(EXTRAS)

clean:
	rm -rf $(VENV) docs/_build docs/_generated build dist .mypy_cache .pytest_cache .ruff_cache
