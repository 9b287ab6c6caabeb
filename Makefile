# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DATA ?= ../shared/data
QUICK := $(addprefix tests/,measure tracing data models repair predict gradients test_compat.py test_files.py test_public.py)

.PHONY: demo test quick versions lint docs package notebooks bench zoo short-zoo studies census census-timm found-periods generators style fixes backward-fixes period-culprits dream-jitter deep-dream duel clean

demo: $(INSTALLED)
	$(BIN)/featvis demo --out out/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal

# The tests of the rooms that compute, read and write: no browser, no figure, no study.
quick: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal $(QUICK)

# Demo and tests under every Python that is here, each in an environment of its own below build/.
versions:
	$(PYTHON) tests/versions.py

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The documentation with its reference, as pages; a warning is an error.
docs: $(INSTALLED)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

# Runs the notebooks again, in place.
notebooks: $(INSTALLED)
	$(BIN)/python notebooks/run.py

# Builds wheel and sdist, installs the wheel into an empty environment and runs it there.
package: $(INSTALLED)
	rm -rf build/package && mkdir -p build/package
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('build/package'); build_meta.build_wheel('build/package')"
	$(PYTHON) -m venv build/package/environment
	build/package/environment/bin/pip install --quiet --disable-pip-version-check --constraint requirements.txt build/package/*.whl
	cd build/package && environment/bin/featvis demo --out demo

# Compares with other tools in one run; results go to benchmarks/results.
bench: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/gradients.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/prediction.py
	$(BIN)/python benchmarks/found_update.py
	$(BIN)/python benchmarks/dream.py
	$(BIN)/python benchmarks/monitor.py
	$(BIN)/python benchmarks/scaling.py $(DATA)/cifar10_jpeg.zip
	$(BIN)/python -m benchmarks.cost_model

# Trains what ships again, from the CIFAR-10 archive in $(DATA): some six hours on two cores, resumable at any moment.
zoo: $(INSTALLED)
	$(BIN)/python experiments/train_classifier.py $(DATA)/cifar10_jpeg.zip --out build/cifar-k3s2 \
		--log experiments/results/train_classifier.csv --ship featvis/models/zoo/weights
	$(BIN)/python experiments/train_classifier.py $(DATA)/cifar10_jpeg.zip --out build/twins --twins all --epochs 24 --bfloat16 \
		--log experiments/results/twins.csv --ship featvis/models/zoo/weights
	test -d build/gan-1000 || ( \
		$(BIN)/python experiments/train_gan.py $(DATA)/cifar10_jpeg.zip --out build/gan --pairs all --steps 1000 --bfloat16 && \
		rm -rf build/gan-1000.part && cp -r build/gan build/gan-1000.part && mv build/gan-1000.part build/gan-1000 )
	$(BIN)/python experiments/train_gan.py $(DATA)/cifar10_jpeg.zip --out build/gan --pairs all --steps 2000 --bfloat16 \
		--ship featvis/models/zoo/weights
	$(BIN)/python experiments/zoo_audit.py $(DATA)/cifar10_jpeg.zip

# The short recipe, for the spread over seeds and the course of training.
short-zoo: $(INSTALLED)
	$(BIN)/python experiments/train_classifier.py $(DATA)/cifar10_jpeg.zip --out build/short --twins all --seeds 0,1,2 --epochs 4 --bfloat16 --snapshots \
		--log experiments/results/twins_short.csv
	$(BIN)/python experiments/train_classifier.py $(DATA)/cifar10_jpeg.zip --out build/still --twins k3s2 --seeds 0,1,2 --epochs 4 --bfloat16 --padding 0
	$(BIN)/python experiments/train_gan.py $(DATA)/cifar10_jpeg.zip --out build/gan-1 --pairs all --steps 1000 --seed 1 --bfloat16
	$(BIN)/python experiments/train_gan.py $(DATA)/cifar10_jpeg.zip --out build/gan-2 --pairs all --steps 1000 --seed 2 --bfloat16
	$(BIN)/python experiments/zoo_spread.py $(DATA)/cifar10_jpeg.zip --classifiers build/short --gans build/gan-1000,build/gan-1,build/gan-2

# The questions that the article left open, on what ships; docs/studies.md.
studies: $(INSTALLED)
	$(BIN)/python experiments/overlap_training.py $(DATA)/cifar10_jpeg.zip --snapshots build/short --still build/still
	$(BIN)/python experiments/shortcut_culprits.py $(DATA)/cifar10_jpeg.zip
	$(BIN)/python experiments/trained_generators.py $(DATA)/cifar10_jpeg.zip --more build/gan,build/gan-1000,build/gan-1,build/gan-2
	$(BIN)/python experiments/resize_modes.py $(DATA)/cifar10_jpeg.zip
	$(BIN)/python experiments/strong_colours.py $(DATA)/cifar10_jpeg.zip
	$(BIN)/python experiments/adversary.py $(DATA)/cifar10_jpeg.zip
	$(BIN)/python experiments/pooling_frequencies.py $(DATA)/cifar10_jpeg.zip
	$(BIN)/python experiments/audio.py

# Predicted beside measured checkerboard of every torchvision classifier, with random weights; resumes where it stopped.
census: $(INSTALLED)
	$(BIN)/python experiments/census.py

# The same of the smallest architecture of each of timm's families, with what is traced and found; an hour, resumable too.
census-timm: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.txt --no-build-isolation -e .[timm]
	$(BIN)/python experiments/census_timm.py

# How often a period is found where there is one, and where there is none.
found-periods: $(INSTALLED)
	$(BIN)/python experiments/found_periods.py $(DATA)/images/imagenet

# Studies; each writes its results, a figure and nothing else. The ones that need third-party weights take them from $(DATA).
generators: $(INSTALLED)
	$(BIN)/python experiments/random_generators.py

style: $(INSTALLED)
	$(BIN)/python experiments/style_transfer.py --weights $(DATA)/weights/style_udnie.pth --pictures $(DATA)/images/set14

fixes: $(INSTALLED)
	$(BIN)/python experiments/fixes.py

backward-fixes: $(INSTALLED)
	$(BIN)/python experiments/backward_fixes.py $(DATA)/images/imagenet --weights $(DATA)/weights/mobilenet_v2_imagenet.pth

period-culprits: $(INSTALLED)
	$(BIN)/python experiments/period_culprits.py $(DATA)

# What the parameterisation maco keeps, from photographs that packages bring along.
spectrum: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target build/photographs \
		scikit-image==0.26.0 scikit-learn==1.9.1 matplotlib==3.11.2
	$(BIN)/python experiments/natural_spectrum.py $(addprefix build/photographs/,skimage sklearn matplotlib)

dream-jitter: $(INSTALLED)
	$(BIN)/python experiments/dream_jitter.py $(DATA)/images/imagenet --weights $(DATA)/weights/mobilenet_v2_imagenet.pth

deep-dream: $(INSTALLED)
	$(BIN)/python experiments/deep_dream.py --weights $(DATA)/weights/mobilenet_v2_imagenet.pth

duel: $(INSTALLED)
	$(BIN)/python experiments/gan_duel.py $(DATA)/cifar10_jpeg.zip --seeds 6

$(INSTALLED): requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) build out
