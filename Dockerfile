# syntax=docker/dockerfile:1
# The service as an image: docker build -t qwen3-rerank .
# It runs on NVIDIA GPUs and on CPUs. For CPUs alone and several gigabytes less, build it with the
# package index that has PyTorch's CPU builds (pytorch.org names it): --build-arg TORCH_INDEX=https://…
# See docs/service.md.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# Where torch is from, if not from where everything else is.
ARG TORCH_INDEX=
# With ModelScope's client, for hub = "modelscope": local,serve,modelscope
ARG EXTRAS=local,serve,modelscope
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# torch comes first and by itself: it is large, and does not change with the source.
RUN if [ -n "$TORCH_INDEX" ]; then export PIP_INDEX_URL="$TORCH_INDEX"; fi; \
    pip install "torch>=2.6"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY qwen3_rerank qwen3_rerank
COPY shared_core shared_core
COPY langchain_qwen3_rerank langchain_qwen3_rerank
COPY llama_index_qwen3_rerank llama_index_qwen3_rerank
# hadolint ignore=DL3013
RUN pip install ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin rerank \
    && install --directory --owner=rerank --group=rerank /models
COPY --from=build /opt/venv /opt/venv
# Models are kept in a volume, whichever hub they come from. (No secret: a tokenizer's threads.)
# hadolint ignore=DL3064
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/models/huggingface \
    MODELSCOPE_CACHE=/models/modelscope \
    TOKENIZERS_PARALLELISM=false \
    QWEN3_RERANK_HOST=0.0.0.0 \
    QWEN3_RERANK_PORT=8000
USER 10001:10001
VOLUME /models
EXPOSE 8000
# Ready only when the model is loaded; the first start downloads it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['QWEN3_RERANK_PORT'] + '/health/ready', timeout=4)"]
ENTRYPOINT ["qwen3-rerank", "serve"]
