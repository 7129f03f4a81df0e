"""Prompts as vLLM takes them: our own token ids, and images in their sizes for the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from shared_core.errors import ModelLoadError
from shared_core.images.content import Content
from shared_core.prompt.encoding import EncodedGroup, PairEncoder
from shared_core.scorers.local.calls import RequestEncoder, TextCall
from shared_core.scorers.local.checkpoints.checkpoint import Checkpoint
from shared_core.scorers.local.vision.album import Album
from shared_core.scorers.local.vision.encoder import ContentEncoder
from shared_core.scorers.local.vision.pixels import LEAST_TOKENS, MOST_TOKENS, resized

IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105  # no password
_PREPROCESSOR = "preprocessor_config.json"


class Prompts(RequestEncoder, Protocol):
    """The prompts of one call.

    Attributes:
        window: The most of them that vLLM holds at a time.
    """

    window: int

    def prompt(self, ids: list[int]) -> dict[str, Any]:
        """Return a whole prompt's token ids as vLLM takes them."""


class TextPrompts(TextCall):
    """Prompts of texts. vLLM serves first come, first served, and takes some hundreds into a step:
    more in its queue would only make other callers wait.
    """

    window = 1024

    def prompt(self, ids: list[int]) -> dict[str, Any]:
        """Return a finished input, as a renderer of vLLM would; older versions see the ids."""
        return {"type": "token", "prompt_token_ids": ids}


class ContentPrompts:
    """Prompts of texts and images.

    Args:
        encoder: Encodes contents.
        album: The images of the call.
        image_id: The id that vLLM puts an image's tokens in the place of.
    """

    window = 32  # the pixel values of a large image are 44 MB

    def __init__(self, encoder: ContentEncoder, album: Album, image_id: int) -> None:
        self._encoder, self._album, self._image_id = encoder, album, image_id

    def encode(
        self,
        instruction: str,
        query: str | Content,
        documents: Sequence[str | Content],
        first_index: int = 0,
    ) -> EncodedGroup:
        """Return a request's token ids; see `ContentEncoder.encode`."""
        return self._encoder.encode(instruction, query, documents, self._album, first_index)

    def prompt(self, ids: list[int]) -> dict[str, Any]:
        """Return ids with one for each image, which vLLM's processor repeats, and the images."""
        images, shorter, end = [], [], 0
        for place, shown in self._album.images_in(ids):
            shorter += [*ids[end:place], self._image_id]
            images.append(resized(shown.picture.pixels, shown.grid, self._album.token_side))
            end = place + shown.grid.n_tokens
        if not images:
            return {"type": "token", "prompt_token_ids": ids}
        return {
            "prompt_token_ids": shorter + ids[end:],
            "multi_modal_data": {"image": images},
        }


def prompts_of(checkpoint: Checkpoint, encoder: PairEncoder, model: str) -> Callable[[], Prompts]:
    """Return what makes the prompts of a call.

    Args:
        checkpoint: The checkpoint.
        encoder: Encodes texts.
        model: The name of the model, for messages.
    """
    if checkpoint.vision is None:
        return partial(TextPrompts, encoder, model)
    contents = ContentEncoder(encoder)
    first_id, side = checkpoint.config.vocab_size, checkpoint.vision.config.token_side
    image_id = encoder.control_id(IMAGE_TOKEN)
    return lambda: ContentPrompts(contents, Album(first_id, side), image_id)


def vision_overrides(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what vLLM is told of the config of a model that reads images.

    Its text_config need not say whether head and embeddings are one; that of the whole model does.
    """
    tied = {"tie_word_embeddings": checkpoint.config.tie_word_embeddings}
    return {"architectures": ["Qwen3VLForSequenceClassification"], "text_config": tied}


def vision_arguments(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """Return the engine arguments of a model that reads images; of one that does not, none.

    Images come to vLLM in their sizes for the model, so its processor leaves them as they are.

    Raises:
        ModelLoadError: The folder has no preprocessor_config.json, which vLLM reads; or torchvision
            is missing, without which vLLM has no such model.
    """
    if checkpoint.vision is None:
        return {}
    try:
        import_module("torchvision")  # without it vLLM says that it knows no such model
    except (ImportError, RuntimeError) as error:  # the latter from one for another torch
        raise ModelLoadError(
            f"vLLM reads images with torchvision, which cannot be imported here ({error}): install "
            'the build for the same torch as vLLM has, or use backend="transformers"'
        ) from error
    if not (checkpoint.folder / _PREPROCESSOR).is_file():
        raise ModelLoadError(
            f"could not load {name!r}: it has no {_PREPROCESSOR}, which vLLM reads: take it from "
            'the published model, or use backend="transformers"'
        )
    side = checkpoint.vision.config.token_side
    return {
        "limit_mm_per_prompt": {
            "image": max(1, checkpoint.encoder.max_length // LEAST_TOKENS),
            "video": 0,
        },
        "mm_processor_kwargs": {
            "size": {
                "shortest_edge": LEAST_TOKENS * side**2,
                "longest_edge": MOST_TOKENS * side**2,
            },
            "do_resize": False,
        },
    }
