"""Every option, defined once: `Reranker` validates with them, both adapters inherit them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import field_validator, model_validator

from shared_core.options.devices import checked_device
from shared_core.options.option import About as About
from shared_core.options.option import Group as Group
from shared_core.options.option import about_options as about_options
from shared_core.options.option import option as option
from shared_core.options.ranking import RankingOptions as RankingOptions
from shared_core.options.remote import RemoteOptions, plain_path
from shared_core.options.windows import WindowOptions
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.prompt.unwrapping import plain_instruction, unwrapped_query

DEFAULT_MODEL = "Qwen/Qwen3-Reranker-0.6B"
TINY = "tiny"
"""The bundled demonstration model."""

Instruction = str | Callable[[str], str]
"""The task sentence of the prompt, or a function that returns it for a query."""

Backend = Literal["auto", "transformers", "vllm", "remote"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantize = Literal["int8"]
Hub = Literal["huggingface", "modelscope"]
OnError = Literal["raise", "passthrough"]

LOCAL = ("transformers", "vllm")


class RerankerOptions(WindowOptions, RemoteOptions):
    """The options of a `Reranker`, which documents them."""

    model: str = option(
        DEFAULT_MODEL,
        'A hub name, a folder with a checkpoint, or "tiny", the bundled demonstration model.',
        About("Model", changes_scores=True),
        min_length=1,
    )
    revision: str | None = option(
        None,
        "The hub revision: a tag, a branch or a commit.",
        About("Model", changes_scores=True),
    )
    adapter: str | None = option(
        None,
        "A LoRA adapter that is merged into the model while loading: a folder or a hub name. A "
        "model that is an adapter alone finds its base itself.",
        About("Model", changes_scores=True, backends=LOCAL),
        min_length=1,
    )
    adapter_revision: str | None = option(
        None,
        "The hub revision of the adapter.",
        About("Model", changes_scores=True, backends=LOCAL),
    )
    answers: tuple[str, str] = option(
        ("yes", "no"),
        "The words that a fine-tuned model answers with, a token each; the prompt is the same.",
        About("Model", changes_scores=True, backends=LOCAL),
    )
    hub: Hub = option(
        "huggingface",
        'The hub where names are looked up: "huggingface" or "modelscope".',
        About("Model"),
    )
    cache_dir: str | None = option(
        None,
        "The folder for the hub's files; the hub library's own by default.",
        About("Model"),
    )
    local_files_only: bool = option(
        False,
        "Use files on this machine only; never contact the hub.",
        About("Model", backends=LOCAL),
    )
    instruction: Instruction | None = option(
        None,
        "The task in a sentence, or a function of the query that returns it; English works best. "
        "Web search, as on the model card, by default.",
        About("Model", changes_scores=True),
    )
    max_length: int = option(
        8192,
        "The most tokens of a whole prompt; a longer document loses its end.",
        About("Model", changes_scores=True),
        ge=1,
    )
    calibration: str | None = option(
        None,
        "A file that evaluate --calibrate wrote for this model and instruction: scores get a "
        "probability beside them, and queries one of having no answer.",
        About("Model"),
        min_length=1,
    )
    backend: Backend = option(
        "auto",
        'What computes the scores: "transformers", "vllm" (both in this process) or "remote". '
        '"auto" is remote if base_url or dialect is given, else transformers.',
        About("Computing", changes_scores=True),
    )
    device: str | None = option(
        None,
        'Where the model computes: "cuda", "cuda:1", "mps" or "cpu"; by default the best one.',
        About("Computing", backends=LOCAL),
    )
    dtype: Dtype = option(
        "auto",
        'The number format: "float32", "bfloat16" or "float16". "auto" is half precision where the '
        "device computes in it, else float32.",
        About("Computing", changes_scores=True, backends=LOCAL),
    )
    quantize: Quantize | None = option(
        None,
        '"int8" computes matrix products in eight bits: faster on CPUs, and not exact.',
        About("Computing", changes_scores=True, backends=("transformers",)),
    )
    max_batch_tokens: int | None = option(
        None,
        "The most tokens of one forward pass; chosen by device, and halved when memory runs out.",
        About("Computing", backends=LOCAL),
        ge=1,
    )
    threads: int | None = option(
        None,
        "CPU threads of a forward pass; by default as many as help at the model's size.",
        About("Computing", backends=("transformers",)),
        ge=1,
    )
    unload_after: float | None = option(
        None,
        "Seconds without a call after which a local model's memory is given back; the next call "
        "loads it again. Never by default.",
        About("Computing", backends=LOCAL),
        gt=0,
        allow_inf_nan=False,
    )
    engine_args: dict[str, Any] = option(
        dict,
        "Arguments of vLLM's engine, such as {'tensor_parallel_size': 2}.",
        About("Computing", changes_scores=True, backends=("vllm",)),
    )
    cache_size: int = option(
        0, "How many scores to cache, by exact text; 0 caches none.", About("Calls"), ge=0
    )
    image_cache_size: int = option(
        0,
        "How many images' embeddings to keep in memory from one call to the next, by their pixels; "
        "0 keeps none.",
        About("Computing", backends=("transformers",)),
        ge=0,
    )
    show_progress: bool = option(False, "Show a progress bar for long jobs.", About("Calls"))
    on_error: OnError = option(
        "raise",
        'What happens when scoring fails: "raise", or "passthrough", which returns the input order '
        "unscored, flagged and logged. A wrong model, key or option raises all the same.",
        About("Calls"),
    )

    @property
    def is_remote(self) -> bool:
        """Whether a server does the scoring."""
        return self.backend == "remote" or self.base_url is not None or self.dialect != "auto"

    @property
    def chosen_backend(self) -> str:
        """The backend that scores, which "auto" stands for: never "auto"."""
        if self.is_remote:
            return "remote"
        return "transformers" if self.backend == "auto" else self.backend

    @property
    def without_effect(self) -> list[str]:
        """The options that were changed from their defaults and do nothing for this backend."""
        default = type(self).model_construct()
        return [
            name
            for name, about in about_options(RerankerOptions).items()
            if about.backends
            and self.chosen_backend not in about.backends
            and getattr(self, name) != getattr(default, name)
        ]

    @field_validator("model", "adapter", "calibration", "cache_dir", "device", mode="before")
    @classmethod
    def _accept_paths_and_devices(cls, value: Any) -> Any:
        """Accept `pathlib.Path`, "~" and `torch.device`, without importing torch."""
        return str(value) if type(value).__name__ == "device" else plain_path(value)

    @field_validator("engine_args", "headers", mode="before")
    @classmethod
    def _take_none_for_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str | None) -> str | None:
        return None if value is None else checked_device(value)

    @field_validator("dtype", mode="before")
    @classmethod
    def _accept_torch_dtype(cls, value: Any) -> Any:
        """Accept ``torch.bfloat16`` for ``"bfloat16"``, without importing torch."""
        return str(value).removeprefix("torch.") if type(value).__name__ == "dtype" else value

    @field_validator("answers", mode="before")
    @classmethod
    def _accept_answers(cls, value: Any) -> Any:
        """Accept "yes,no", as command lines and the environment have it."""
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("answers")
    @classmethod
    def _check_answers(cls, value: tuple[str, str]) -> tuple[str, str]:
        if value[0] == value[1] or not all(word.strip() for word in value):
            raise ValueError(
                f"answers={value!r}: expected two words that differ, first the one that means yes, "
                'such as ("Yes", "No")'
            )
        return value

    @model_validator(mode="after")
    def _check_backend(self) -> RerankerOptions:
        if self.is_remote and self.backend not in ("auto", "remote"):
            raise ValueError(
                f"backend={self.backend!r} scores in this process, but base_url or dialect names a "
                "server: leave out one of them"
            )
        if self.backend == "remote" and self.base_url is None and self.dialect == "auto":
            raise ValueError('backend="remote" needs base_url, or the dialect of a hosted API')
        self._check_quantize()
        self._check_adapter()
        return self

    def _check_adapter(self) -> None:
        if self.is_remote and self.answers != ("yes", "no"):
            raise ValueError(
                f"answers={self.answers!r} are read from a model in this process, and a server "
                "scores: set up the server with them, and leave them out"
            )
        if self.adapter_revision is not None and self.adapter is None:
            raise ValueError("adapter_revision without an adapter: give both, or neither")
        if self.adapter is not None and self.is_remote:
            raise ValueError(
                f"adapter={self.adapter!r} is merged into a model in this process, and a server "
                "scores: start the server with the adapter, or with merged weights"
            )

    def _check_quantize(self) -> None:
        if self.quantize is None:
            return
        if self.is_remote or self.backend == "vllm":
            raise ValueError(
                f'quantize="{self.quantize}" is for backend="transformers": give vLLM '
                'engine_args={"quantization": …}, and a server its own setting'
            )
        if self.device not in (None, "cpu"):
            raise ValueError(
                f'quantize="{self.quantize}" computes on CPUs, got device={self.device!r}: leave '
                "one of them out"
            )


def resolve_instruction(
    per_call: Instruction | None, configured: Instruction | None, query: str
) -> str:
    """Return the instruction in force: the call's, else the configured one, else the default.

    A query that is already wrapped in the model's prompt brings its own, which has precedence.

    Raises:
        TypeError: The instruction, or what its function returned, is not a string.
        ValueError: The instruction or the query holds parts of the model's prompt.
    """
    wrapped = unwrapped_query(query)
    if wrapped is not None:
        return wrapped.instruction
    instruction = per_call if per_call is not None else configured
    if instruction is None:
        return DEFAULT_INSTRUCTION
    resolved = instruction(query) if callable(instruction) else instruction
    if not isinstance(resolved, str):
        source = "the instruction function returned" if callable(instruction) else "got"
        raise TypeError(f"instruction must be a string, {source} {type(resolved).__name__}")
    return plain_instruction(resolved)
