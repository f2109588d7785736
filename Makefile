# Two commands do everything on a fresh machine with python3 (3.10+), make and pip: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check hot-path bench compat faults fuzz format clean

demo: $(INSTALLED)
	$(BIN)/energon-prep demo demo-data

test: check
	$(BIN)/python -m pytest -n auto

# Which files and functions one image passes between plan and tar.
hot-path: $(INSTALLED)
	$(BIN)/python -m benchmarks.hot_path

# Under 10 minutes on 2 quiet cores: docs/performance.md.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.throughput

# The task encoders on the Energon of each trainer (docs/trainers.md): a virtual environment of 1 GB for each version.
compat: $(INSTALLED) $(patsubst tests/compat/energon-%.txt,.compat/%/.installed,$(wildcard tests/compat/energon-*.txt))
	$(BIN)/python -m tests.compat .compat

.compat/%/.installed: tests/compat/energon-%.txt
	$(PYTHON) -m venv .compat/$*
	.compat/$*/bin/python -m pip install --quiet torch==2.13.0 --requirement $<
	touch $@

# Kills, full disks, broken reads: hundreds of times (docs/resilience.md); a few of each are in `make test`.
faults: $(INSTALLED)
	$(BIN)/python -m benchmarks.faults

# Every parser with made-up bytes, a minute each; needs atheris besides: .venv/bin/pip install atheris
fuzz: $(INSTALLED)
	$(BIN)/python -m benchmarks.fuzz

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/deptry energon_prep cookers task_encoders examples
	$(BIN)/deptry tests benchmarks docs --ignore DEP002,DEP004

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "energon-prep needs Python 3.10 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .compat demo-data .pytest_cache .mypy_cache .ruff_cache .hypothesis
