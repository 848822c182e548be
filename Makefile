# Two commands do everything on a fresh machine: `make demo` and `make test`.
# They need Python 3.11 or newer (PYTHON=python3.12 chooses one) and the internet, once, for .venv.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint docs pictures settings lock images lock-images clean

# make demo [AUDIO=/some/folder] [ZONE=America/Chicago] [STUDY=/where/it/goes] [LIKE=birds]
# With AUDIO, `init` begins the study; typed again, `catalog` lists what is new, and `run` follows.
ZONES := $(if $(ZONE),--zone "$(ZONE)")
demo: $(VENV)/ready
ifdef AUDIO
	study="$(or $(STUDY),data/$$(basename "$(AUDIO)"))"; \
	if test -e "$$study/manifest.toml"; \
	then $(BIN)/dawnchorus catalog "$(AUDIO)" --out "$$study/recordings.csv" --workers $(WORKERS) $(ZONES); \
	else $(BIN)/dawnchorus init "$$study" --audio "$(AUDIO)" --workers $(WORKERS) $(ZONES) $(if $(LIKE),--like "$(LIKE)"); \
	fi && $(BIN)/dawnchorus run "$$study/manifest.toml" --workers $(WORKERS)
else
	$(BIN)/dawnchorus demo --workers $(WORKERS)
endif

# Files of tests in WORKERS processes
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test: $(VENV)/ready
	$(PYTEST)

# With MINUTES, tests begin in the first MINUTES only; those left out are listed
test-slow: $(VENV)/ready
	$(PYTEST) -m slow $(if $(MINUTES),--minutes $(MINUTES) -rs)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Each prints a table and writes build/bench/<name>.json; of bench-season, SHARE is the share of 230,259 windows
export SHARE
bench-%: $(VENV)/bench-ready
	$(BIN)/python -m benchmarks.$*

# The docs as a site in build/docs, without the network; any warning is an error
docs: $(VENV)/docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

$(VENV)/docs-ready: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,docs]"
	touch $@

# The screenshots of the docs, from the pages of the demo; needs Chromium
pictures: $(VENV)/ready
	$(BIN)/python -m benchmarks.pictures data/demo

# The page of all settings, from the code
settings: $(VENV)/ready
	$(BIN)/python -c 'from jobs.runner.registry import JOBS; from jobs.runner.settings import as_page; print(as_page(JOBS.values()))' > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md

# The versions that the suite was run with, with their digests: containers/requirements.lock
lock: $(VENV)/ready
	$(BIN)/python containers/lock.py > containers/requirements.lock.new
	mv containers/requirements.lock.new containers/requirements.lock

# make images [IMAGES="dino cluster"] [IMAGE_DIR=build/images] [MIRROR=URL | OCI=python:3.13-slim] [TORCH_INDEX=URL]
# Needs Apptainer; what is up to date is left alone. See docs/containers.md.
IMAGES ?= spectrograms dino cluster
IMAGE_DIR ?= build/images
BUILD := build/tools/bin/python containers/build.py --out $(IMAGE_DIR) $(if $(WHEELS),--wheels $(WHEELS)) \
  $(if $(MIRROR),--mirror $(MIRROR)) $(if $(OCI),--oci $(OCI)) $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))

images: build/tools/ready
	$(BUILD) $(IMAGES)

# The versions in the images, resolved with the Python of the base image, S3 with each: containers/<image>.lock
lock-images: build/tools/ready
	$(BUILD) base
	for image in $(IMAGES); do \
	  build/tools/bin/python containers/lock.py --base $(IMAGE_DIR)/base.sif $$image s3 > build/$$image.lock \
	    && mv build/$$image.lock containers/$$image.lock || exit 1; \
	done

build/tools/ready:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dawnchorus needs Python 3.11 or newer: make PYTHON=…")'
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check hatchling
	touch $@

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dawnchorus needs Python 3.11 or newer: make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing about 6 GB of packages into $(VENV), PyTorch with CUDA among them: some minutes, once, without a word."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

$(VENV)/bench-ready: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,bench]"
	touch $@

clean:
	rm -rf $(VENV) build dist
