# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DATA ?= ../shared/data

.PHONY: demo test lint bench zoo census clean

demo: $(INSTALLED)
	$(BIN)/featvis demo --out out/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Compares with other tools in one run; results go to benchmarks/results.
bench: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/gradients.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/prediction.py

# Trains the shipped network again, from the CIFAR-10 archive in $(DATA).
zoo: $(INSTALLED)
	$(BIN)/python experiments/train_classifier.py $(DATA)/cifar10_jpeg.zip --out build/cifar-k3s2

# Predicted beside measured checkerboard of every torchvision classifier, with random weights; resumes where it stopped.
census: $(INSTALLED)
	$(BIN)/python experiments/census.py

$(INSTALLED): requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) build out
