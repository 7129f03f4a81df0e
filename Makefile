# Every target sets up what it needs: a virtual environment in .venv, filled on the first run.

PYTHON ?= python3
VENV ?= .venv
MODEL ?= tiny
PORT ?= 8000
BENCH ?= --quick
BIN := $(VENV)/bin
# vLLM pins other versions than ours, so it has an environment of its own: 2.5 GB, Linux alone.
VLLM_BIN := .venv-vllm/bin
VLLM_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false VLLM_CPU_KVCACHE_SPACE=1
HAS_VLLM := $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m))
# So have the servers of other projects that the client is tested against: 0.6 GB.
SERVERS_BIN := .venv-servers/bin
# Infinity and Xinference take minutes to install, so that `make test` leaves them out: 1.4 and 1.9 GB.
SLOW_SERVERS := .venv-infinity/bin/.ready .venv-xinference/bin/.ready
# Small models on few cores: more threads per process only wait for one another.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

SUBMAKE := $(MAKE) --no-print-directory
PIP := $(BIN)/python -m pip install --progress-bar off
# Tests that start no server, no browser and no Ray.
QUICK := tests/shared_core tests/parity tests/langchain_qwen3_rerank tests/llama_index_qwen3_rerank \
	tests/qwen3_rerank/evaluation/test_evaluation_data.py tests/qwen3_rerank/evaluation/test_evaluation_figures.py \
	tests/qwen3_rerank/cli/test_cli_options.py shared_core langchain_qwen3_rerank llama_index_qwen3_rerank \
	--ignore tests/shared_core/process --ignore tests/shared_core/scorers/remote/with_servers
# The tests of vLLM and all others run side by side where there is memory for both (in KiB).
ROOMY := $(shell awk '/^MemAvailable/ && $$2 > 14000000 {print "yes"}' /proc/meminfo 2>/dev/null)

.PHONY: help demo serve bench docs check test test-rest test-vllm test-servers test-servers-slow servers-table test-real test-gpu lint format clean

help:
	@echo "make demo [MODEL=Qwen/Qwen3-Reranker-0.6B]  retrieve, rerank, compare"
	@echo "make serve [MODEL=…] [PORT=8000]            the HTTP service, with a page at /ui"
	@echo "make bench [MODEL=…] [BENCH='--workload …']  this library beside its peers, in turn: docs/performance.md"
	@echo "make docs                                   the documentation as a site, in site/"
	@echo "make check                                  lint, types and the tests that start no server: minutes"
	@echo "make test                                   lint, types and all tests: what a change must pass"
	@echo "make test-vllm                              backend=\"vllm\" against real engines, in .venv-vllm (Linux, x86-64)"
	@echo "make test-servers                           the client against real llama.cpp and LiteLLM, in .venv-servers"
	@echo "make test-servers-slow                      real Infinity and Xinference, which \`make test\` leaves out"
	@echo "make servers-table                          docs/servers.md: what came out of every server that runs here"
	@echo "make test-gpu                               scores on a CUDA device (needs one, and torch for it)"
	@echo "make test-real [MODEL=…]                    golden scores of the real 0.6B (needs its weights)"
	@echo "make lint | format | clean"
	@echo
	@echo "On Linux, torch comes with gigabytes of CUDA. For the CPU's build, set PIP_EXTRA_INDEX_URL for the"
	@echo "first command to the index that PyTorch's installation page names for the compute platform CPU."

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# What `make demo` runs, and no more. A stamp is made last, so that a stopped install goes on.
$(BIN)/.demo: pyproject.toml constraints-dev.txt requirements-examples.txt | $(BIN)/python
	@echo "Installing what the demonstration needs into $(VENV): on the first run, some minutes."
	$(PIP) -e ".[langchain,llama-index,local]" -r requirements-examples.txt
	@touch $@

$(BIN)/.serve: pyproject.toml constraints-dev.txt | $(BIN)/python
	@echo "Installing what the service needs into $(VENV): on the first run, some minutes."
	$(PIP) -c constraints-dev.txt -e ".[local,serve,ui]"
	@touch $@

$(BIN)/.dev: pyproject.toml constraints-dev.txt requirements-examples.txt requirements-dev.txt requirements-docs.txt requirements-tokenizer.txt | $(BIN)/python
	@echo "Installing everything into $(VENV): on the first run, several minutes."
	$(PIP) -e ".[langchain,llama-index,transformers,cli,serve,ui,evaluate,ray,bench]" -r requirements-examples.txt \
		-r requirements-dev.txt -r requirements-docs.txt
	$(PIP) --no-deps -r requirements-tokenizer.txt
	@touch $@

$(BIN)/.docs: requirements-docs.txt | $(BIN)/python
	@echo "Installing what builds the documentation into $(VENV)."
	$(PIP) -r requirements-docs.txt
	@touch $@

demo: $(BIN)/.demo
	@$(BIN)/python examples/demo.py --model "$(MODEL)"
	@echo
	@echo "Next:"
	@echo "  make demo MODEL=Qwen/Qwen3-Reranker-0.6B     the same with a real model (downloads 1.2 GB)"
	@echo "  $(BIN)/python examples/langchain_rag.py    retrieval, reranking and an answer as one chain"
	@echo "  make serve                                   the HTTP service, with a page to try it at /ui"

serve: $(BIN)/.serve
	@$(BIN)/qwen3-rerank serve --model "$(MODEL)" --port "$(PORT)" --log-format text

bench: $(BIN)/.dev
	@$(BIN)/python -m benchmarks.bench --model "$(MODEL)" $(BENCH)

docs: $(BIN)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "Open site/index.html. The search needs a server: $(BIN)/python -m http.server -d site"

check: $(BIN)/.dev
	@status=0; \
	$(SUBMAKE) lint || status=1; \
	$(TEST_ENV) $(BIN)/python -m pytest -n auto --dist loadscope $(QUICK) || status=1; \
	exit $$status

# All steps run, so that one look at the output shows every failure. Types are checked, and vLLM is
# tested, beside the other tests, and what they say is shown behind them.
test: $(BIN)/.dev
	@command -v chromium chromium-browser >/dev/null || \
	echo "No Chromium: the tests in a browser will be skipped; apt-get install chromium chromium-driver"
	@$(SUBMAKE) $(SERVERS_BIN)/.ready || \
	echo "The servers of requirements-servers.txt cannot be installed here: their tests will be skipped; make test-servers"
	@log=$$(mktemp); status=0; \
	trap 'kill $$main $$beside 2>/dev/null; rm -f "$$log"' EXIT; trap 'exit 143' INT TERM; \
	$(SUBMAKE) -k lint $(if $(ROOMY),test-rest) >"$$log" 2>&1 & beside=$$!; \
	$(TEST_ENV) $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --ignore tests/with_vllm \
	--ignore tests/with_slow_servers & main=$$!; \
	wait $$main || status=1; main=; \
	wait $$beside || status=1; beside=; cat "$$log"; \
	$(if $(ROOMY),,$(SUBMAKE) test-rest || status=1;) \
	exit $$status

# What of `make test` needs an environment of its own.
test-rest: $(if $(HAS_VLLM),test-vllm)

$(VLLM_BIN)/.ready: requirements-vllm.txt requirements-tokenizer.txt
	test -x $(VLLM_BIN)/python || $(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/python -m pip install --quiet --no-deps -r requirements-vllm.txt -r requirements-tokenizer.txt
	$(VLLM_BIN)/python -m pip install --quiet --no-deps -e .
	$(VLLM_BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv-vllm/vision torchvision==0.28.0
	@touch $@

test-vllm: $(VLLM_BIN)/.ready
	$(VLLM_ENV) $(VLLM_BIN)/python -m pytest tests/with_vllm --timeout 900

$(SERVERS_BIN)/.ready $(SLOW_SERVERS): .venv-%/bin/.ready: requirements-%.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --no-deps -r $<
	@touch $@

test-servers: $(BIN)/.dev $(SERVERS_BIN)/.ready
	$(TEST_ENV) $(BIN)/python -m pytest tests/with_servers

test-servers-slow: $(BIN)/.dev
	@$(SUBMAKE) -k $(SLOW_SERVERS) || echo "What cannot be installed here will be skipped"
	$(TEST_ENV) $(BIN)/python -m pytest tests/with_slow_servers

# Of vLLM, Infinity and Xinference, those that are installed: test-vllm and test-servers-slow do that.
servers-table: $(BIN)/.dev $(SERVERS_BIN)/.ready
	@PYTHONPATH=tests $(TEST_ENV) $(BIN)/python tools/servers_table.py

test-real: $(BIN)/.dev
	QWEN3_RERANK_REAL_MODEL="$(if $(filter tiny,$(MODEL)),Qwen/Qwen3-Reranker-0.6B,$(MODEL))" \
	$(BIN)/python -m pytest -m real_weights

# With whatever torch finds the device: the development constraints pin a build for CPUs.
test-gpu:
	$(PYTHON) -m pytest tests/gpu

lint: $(BIN)/.dev
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	$(BIN)/lint-imports || status=1; \
	$(BIN)/python tools/options_table.py --check || status=1; \
	exit $$status

format: $(BIN)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-vllm .venv-servers .venv-infinity .venv-xinference build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
