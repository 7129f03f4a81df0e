"""The tokenizer of the model, without its weights, to count the tokens of a job in advance."""

from __future__ import annotations

from shared_core.options import RerankerOptions
from shared_core.prompt.encoding import PairEncoder
from shared_core.reranker import Reranker


def encoder_of(reranker: Reranker) -> PairEncoder | None:
    """Return the encoder that the reranker will use; ``None`` if there is no tokenizer.

    Raises:
        ModelLoadError: A model that is to be loaded here has none that can be read.
        ConfigurationError: The tokenizer that was asked for cannot be read.
    """
    if reranker.custom_scorer is not None:
        return None
    options = reranker.options
    return _remote(options) if options.is_remote else _local(options)


def _remote(options: RerankerOptions) -> PairEncoder | None:
    from shared_core.scorers.remote.tokenizing import tokenizer_at_hand

    tokenizer = tokenizer_at_hand(options)
    return None if tokenizer is None else PairEncoder(tokenizer, options.max_length)


def _local(options: RerankerOptions) -> PairEncoder | None:
    from shared_core.errors import ModelLoadError, UnsupportedModelError
    from shared_core.scorers.local.checkpoint_files import tokenizer_folder
    from shared_core.scorers.local.loading import resolve_source
    from shared_core.scorers.local.model_source import locate_model
    from shared_core.scorers.local.tokenizer import read_tokenizer

    name, hub_options = resolve_source(locate_model(options))
    try:
        tokenizer = read_tokenizer(tokenizer_folder(name, hub_options), options.model)
    except UnsupportedModelError:
        return None
    except Exception as error:  # of the hub, of the network
        raise ModelLoadError(
            f"could not read the tokenizer of {options.model!r}: {error}"
        ) from error
    return PairEncoder(tokenizer, options.max_length)
