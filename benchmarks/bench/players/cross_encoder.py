"""sentence-transformers' `CrossEncoder`, with the published prompt as its chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bench.players.base import PREFIX, SUFFIX, TASK, Request, Setup

# The published prompt for the roles that sentence-transformers sends. Jinja drops one newline at
# the end of a template, so the suffix is put in as an expression.
CHAT_TEMPLATE = (
    f"{PREFIX}<Instruct>: {{%- set ns = namespace(instruction='{TASK}', query='', document='') -%}}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' -%}{%- set ns.instruction = message.content -%}"
    "{%- elif message.role == 'query' -%}{%- set ns.query = message.content -%}"
    "{%- elif message.role == 'document' -%}{%- set ns.document = message.content -%}"
    "{%- endif -%}{%- endfor -%}"
    "{{ ' ' + ns.instruction + '\n<Query>: ' + ns.query + '\n<Document>: ' + ns.document"
    f" + '{SUFFIX}' }}}}"
)


class CrossEncoderPlayer:
    """`CrossEncoder.predict`, which sorts by length; ``batch`` is its ``batch_size``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._model: Any = None

    def imports(self) -> dict[str, str]:
        import sentence_transformers
        import torch
        import transformers
        from sentence_transformers import CrossEncoder
        from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

        # Both libraries import on first use, which would be timed as loading.
        _ = CrossEncoder, AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM
        self._torch = torch
        return {
            "sentence-transformers": sentence_transformers.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def load(self) -> None:
        from sentence_transformers import CrossEncoder

        self._model = CrossEncoder(
            self._setup.model,
            device=self._setup.device,
            max_length=self._setup.max_length,
            model_kwargs={"dtype": getattr(self._torch, self._setup.dtype)},
            processor_kwargs={"chat_template": CHAT_TEMPLATE},
        )

    def prepare(self, variant: Mapping[str, Any]) -> None:
        pass

    def score(self, requests: Sequence[Request], variant: Mapping[str, Any]) -> list[float]:
        pairs = [
            (request.query, document) for request in requests for document in request.documents
        ]
        scores = self._model.predict(pairs, batch_size=variant["batch"], show_progress_bar=False)
        return [float(score) for score in scores]
