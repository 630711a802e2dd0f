# Everything here bootstraps itself: the first target that needs Python makes .venv from hashed pins.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := $(wildcard packages/*/pyproject.toml operator/pyproject.toml tools/*/pyproject.toml)
MEMBERS := $(PROJECTS:/pyproject.toml=)
PYTHON ?= python3
# Python keeps what it compiled, even where the environment forbids it: otherwise every program compiles TensorFlow again, 15 s.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(VENV)/.ready: images/requirements/bootstrap.txt images/requirements/dev.txt images/requirements/libdeepspeech.txt $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r images/requirements/bootstrap.txt
	$(BIN)/uv pip sync -q --compile-bytecode --python $(VENV) --require-hashes images/requirements/dev.txt
	$(BIN)/uv pip install -q --python $(VENV) --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS))
	@set -e; wheel=$$(mktemp -d); trap 'rm -rf "$$wheel"' EXIT; \
	$(BIN)/pip download -q --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: --python-version 3.9 --implementation cp \
	  --abi cp39 --platform manylinux1_x86_64 -d "$$wheel" -r images/requirements/libdeepspeech.txt; \
	$(BIN)/python -m zipfile -e "$$wheel"/*.whl "$$wheel"; \
	cp "$$wheel"/deepspeech/lib/libdeepspeech.so $(VENV)/lib/
	@touch $@

APT := DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends
KUBECLUSTER := $(BIN)/python -m kubecluster
export KUBECLUSTER_WEED := $(CURDIR)/$(BIN)/weed

.PHONY: demo
demo: $(VENV)/.ready ## train the example on this machine, without a cluster, and hear it back
	@$(BIN)/speechmodel run examples/espejo/speechmodel.yaml --listen examples/espejo/heard

.PHONY: test
test: $(VENV)/.ready packages browser downloads ## all tests, those on a real cluster too
	@$(BIN)/pytest -n 5 --dist loadscope $(ARGS)

.PHONY: unit
unit: $(VENV)/.ready ## the fast tests: under a minute, without a cluster, without trainings and other long work
	@$(BIN)/pytest -q -n 2 --dist worksteal --hypothesis-profile unit tests/unit tools/kubecluster/tests -m "not training and not slow and not cluster" $(ARGS)

.PHONY: e2e
e2e: $(VENV)/.ready packages ## the tests on a real cluster only; KUBECONFIG and E2E_CONTEXT name another one
	@$(BIN)/pytest tests/e2e $(ARGS)

.PHONY: packages
packages: $(VENV)/.ready # the Debian packages that the cluster needs: installed for root, named for anybody else
	@$(KUBECLUSTER) packages --install || true

.PHONY: downloads
downloads: $(VENV)/.ready # the environments in which tests run other programs, kept in the user's cache
	@PYTHONPATH=tests $(BIN)/python -m support.downloads

.PHONY: browser
browser: # Chromium, for the tests of the page: installed for root on Debian. Without it they are skipped
	@command -v chromium chromium-browser google-chrome > /dev/null \
	  || { [ "$$(id -u)" = 0 ] && { $(APT) chromium || { apt-get update && $(APT) chromium; }; } > /dev/null; } \
	  || echo "no Chromium: the tests of the page are skipped; on Debian: apt-get install chromium" >&2

.PHONY: lint
lint: $(VENV)/.ready ## ruff, mypy, import contracts, and the generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/generate.py --check

.PHONY: bench
bench: export PYTHONPATH := tests
bench: $(VENV)/.ready packages ## the figures of docs/benchmarks.md
	@$(BIN)/python -m bench.convert_bench
	@$(BIN)/python -m bench.grammar_bench
	@$(BIN)/python -m bench.tflite_bench
	@$(BIN)/python -m bench.engine_bench
	@$(BIN)/python -m bench.stream_bench
	@$(BIN)/python -m bench.server_bench
	@$(BIN)/python -m bench.start_bench
	@$(BIN)/python -m bench.save_bench
	@$(BIN)/python -m bench.stop_bench
	@$(BIN)/python -m bench.workers_bench
	@$(BIN)/python -m bench.train_bench
	@$(BIN)/python -m bench.s3_bench
	@$(BIN)/python -W ignore -m bench.scale_bench
	@$(BIN)/python -m bench.job_to_job_bench
	@unshare --net $(BIN)/python -m bench.cluster_bench

.PHONY: soak
soak: export PYTHONPATH := tests
soak: $(VENV)/.ready ## the operator for MINUTES (10; a day is 1440), on a way to the API server that has faults
	@$(BIN)/python -W ignore -m bench.soak $(MINUTES)

.PHONY: arm64
arm64: $(VENV)/.ready packages ## build the images for arm64 and run their programs, by qemu (a quarter of an hour the first time)
	@$(BIN)/pytest tests/integration/inference/arm64_images.py $(ARGS)

.PHONY: quality
quality: export PYTHONPATH := tests
quality: $(VENV)/.ready ## what speakers that were never heard say: right, wrong, rejected; RECORDINGS=folder, see docs/quality.md
	@$(BIN)/python -m bench.quality $(RECORDINGS) $(ARGS)

.PHONY: generate
generate: $(VENV)/.ready ## write the CRD, its chart template and docs/reasons.md from packages/api
	@$(BIN)/python tools/generate.py

# Existing pins are kept; `make lock ARGS=--upgrade` renews all of them.
LOCK := $(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
  $(shell sed -n 's/^name = "\(.*\)"/--no-emit-package \1/p' $(PROJECTS))
LOCKS := images/requirements
HERE := --universal --python-version 3.11
# docopt has no wheel, and only num2words' own command needs it.
IN_IMAGES := --no-emit-package docopt --python-version 3.13 --python-platform x86_64-manylinux_2_28
# The packages of torch for GPUs.
CUDA := triton cuda-bindings cuda-pathfinder cuda-toolkit $(addprefix nvidia-,cublas cuda-cccl cuda-cupti cuda-nvrtc \
  cuda-runtime cudnn-cu13 cufft cufile cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
# Fails when a package has no wheel for arm64. The locks are resolved for x86-64, and have the digests of all wheels.
ON_ARM64 := $(BIN)/uv pip install -q --no-deps --only-binary :all: --require-hashes --python-version 3.13 \
  --python-platform aarch64-manylinux_2_28

.PHONY: lock
lock: $(VENV)/.ready ## lock the requirements of the images and of this environment from the pyproject files
	@$(LOCK) $(HERE) $(LOCKS)/bootstrap.in -o $(LOCKS)/bootstrap.txt $(ARGS)
	@$(LOCK) $(HERE) --group pyproject.toml:dev $(PROJECTS) -o $(LOCKS)/dev.txt $(ARGS)
	@$(LOCK) $(HERE) tests/clients/requirements.in -o tests/clients/requirements.txt $(ARGS)
	@$(LOCK) --python-version 3.7 --python-platform x86_64-manylinux_2_28 $(LOCKS)/coqui.in -o $(LOCKS)/coqui.txt $(ARGS)
	@for client in deepspeech tflite; do \
	  $(LOCK) --python-version 3.9 --python-platform x86_64-manylinux_2_28 tests/clients/$$client.in -o tests/clients/$$client.txt $(ARGS); done
	@$(LOCK) --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  $(addprefix --no-emit-package ,$(CUDA)) tests/bench/torch.in -o tests/bench/torch.txt $(ARGS)
	@for project in operator packages/pipeline packages/inference; do \
	  $(LOCK) $(IN_IMAGES) $$project/pyproject.toml -o $(LOCKS)/$${project##*/}.txt $(ARGS); \
	  $(ON_ARM64) --dry-run --target build/arm64 -r $(LOCKS)/$${project##*/}.txt; done
	@$(LOCK) --python-version 3.11 --python-platform x86_64-manylinux_2_28 packages/training/pyproject.toml -o $(LOCKS)/coqui-stage.txt $(ARGS)
	@for extra in cpu cuda; do \
	  $(LOCK) $(IN_IMAGES) --extra $$extra packages/training/pyproject.toml -o $(LOCKS)/training-$$extra.txt $(ARGS); done

.PHONY: pin
pin: $(VENV)/.ready ## write the digests of built images into the chart's values, for a release; DIGESTS=folder
	@$(BIN)/python tools/pin_images.py $(or $(DIGESTS),build/digests)

LOCKED := operator pipeline training-cpu training-cuda coqui coqui-stage inference

.PHONY: audit
audit: $(VENV)/.ready ## advisories about the Python packages in the images; without the internet, a sentence says so
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python tools/audit.py $(LOCKED:%=$(LOCKS)/%.txt)

SYFT := go run github.com/anchore/syft/cmd/syft@v1.57.1
ARCHIVES := build/archives

.PHONY: sbom
sbom: ## CycloneDX bills of the images in ARCHIVES (build/archives/IMAGE.tar), in build/sbom; builds syft first (once, minutes)
	@ls $(ARCHIVES)/*.tar > /dev/null 2>&1 || { echo 'there are no images in $(ARCHIVES); write them as CONTRIBUTING.md describes under Release' >&2; exit 1; }
	@rm -rf build/sbom && mkdir -p build/sbom
	@for archive in $(ARCHIVES)/*.tar; do name=$$(basename $$archive .tar); \
	  CGO_ENABLED=0 SYFT_FILE_METADATA_SELECTION=none $(SYFT) scan -q $$archive --source-name $$name -o cyclonedx-json@1.6=build/sbom/$$name.cdx.json || exit 1; done
	@ls build/sbom/*

.PHONY: images
images: $(VENV)/.ready packages ## build the images and push them to the test cluster's registry
	@$(KUBECLUSTER) images

.PHONY: cluster-up
cluster-up: $(VENV)/.ready packages ## a real two-node Kubernetes on this machine
	@$(KUBECLUSTER) up

.PHONY: cluster-down
cluster-down: $(VENV)/.ready ## stop it; only caches stay
	@$(KUBECLUSTER) down
