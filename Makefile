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
# Small models on few cores: more threads per process only wait for one another.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: help demo serve bench test test-vllm test-real test-gpu lint format clean

help:
	@echo "make demo [MODEL=Qwen/Qwen3-Reranker-0.6B]  retrieve, rerank, compare"
	@echo "make serve [MODEL=…] [PORT=8000]            the HTTP service"
	@echo "make bench [MODEL=…] [BENCH='--workload …']  this library beside its peers, in turn: docs/performance.md"
	@echo "make test                                   lint, types and all tests"
	@echo "make test-vllm                              backend=\"vllm\" against real engines, in .venv-vllm (Linux, x86-64)"
	@echo "make test-gpu                               scores on a CUDA device (needs one, and torch for it)"
	@echo "make test-real [MODEL=…]                    golden scores of the real 0.6B (needs its weights)"
	@echo "make lint | format | clean"

$(BIN)/.runtime: pyproject.toml constraints-dev.txt requirements-examples.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[langchain,llama-index,local,cli,serve,ui,evaluate,ray,bench]" -r requirements-examples.txt
	@touch $@

$(BIN)/.dev: $(BIN)/.runtime requirements-dev.txt requirements-tokenizer.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-tokenizer.txt
	@touch $@

demo: $(BIN)/.runtime
	@$(BIN)/python examples/demo.py --model "$(MODEL)"

serve: $(BIN)/.runtime
	@$(BIN)/qwen3-rerank serve --model "$(MODEL)" --port "$(PORT)" --log-format text

bench: $(BIN)/.dev
	@$(BIN)/qwen3-rerank bench --model "$(MODEL)" $(BENCH)

# All steps run, so that one look at the output shows every failure.
test: $(BIN)/.dev
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	$(TEST_ENV) $(BIN)/python -m pytest -n auto --dist loadfile || status=1; \
	$(if $(HAS_VLLM),$(MAKE) --no-print-directory test-vllm || status=1;) \
	exit $$status

$(VLLM_BIN)/.ready: requirements-vllm.txt requirements-tokenizer.txt
	test -x $(VLLM_BIN)/python || $(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/python -m pip install --quiet --no-deps -r requirements-vllm.txt -r requirements-tokenizer.txt
	$(VLLM_BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

test-vllm: $(VLLM_BIN)/.ready
	$(VLLM_ENV) $(VLLM_BIN)/python -m pytest tests/with_vllm --timeout 300

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
	exit $$status

format: $(BIN)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-vllm build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
