"""Functions for divided jobs: a reranker's tokenizer without the model, its key elsewhere.

The backends' packages are imported when they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.options import RerankerOptions
from shared_core.reranker import Reranker

if TYPE_CHECKING:
    from shared_core.prompt.encoding import PairEncoder


def encoder_of(reranker: Reranker) -> PairEncoder | None:
    """Return the encoder that the reranker will use; ``None`` if there is no tokenizer.

    Raises:
        ModelLoadError: A model that is to be loaded here has none that can be read.
        ConfigurationError: The tokenizer that was asked for cannot be read.
    """
    if reranker.custom_scorer is not None:
        return None
    options = reranker.options
    return _remote_encoder(options) if options.is_remote else _local_encoder(options)


def _remote_encoder(options: RerankerOptions) -> PairEncoder | None:
    from shared_core.prompt.encoding import PairEncoder
    from shared_core.scorers.remote.tokenizing import tokenizer_at_hand

    tokenizer = tokenizer_at_hand(options)
    return None if tokenizer is None else PairEncoder(tokenizer, options.max_length)


def _local_encoder(options: RerankerOptions) -> PairEncoder | None:
    from shared_core.prompt.encoding import PairEncoder
    from shared_core.scorers.local.checkpoints.files import tokenizer_folder
    from shared_core.scorers.local.checkpoints.model_source import locate_model
    from shared_core.scorers.local.checkpoints.tokenizer import read_tokenizer
    from shared_core.scorers.local.checkpoints.vision_config import prompt_form
    from shared_core.scorers.local.loading import resolve_source

    name, hub_options = resolve_source(locate_model(options))
    try:
        folder = tokenizer_folder(name, hub_options)
        tokenizer, form = read_tokenizer(folder, options.model), prompt_form(folder, options.model)
    except UnsupportedModelError:
        return None
    except Exception as error:  # of the hub, of the network
        raise ModelLoadError(
            f"could not read the tokenizer of {options.model!r}: {error}"
        ) from error
    return PairEncoder(tokenizer, options.max_length, form=form)


def with_key(reranker: Reranker) -> Reranker:
    """Return a reranker that holds the key it would have found in the environment here.

    A copy of it is pickled whole, key and headers included, for workers elsewhere; nothing prints
    or writes them.
    """
    options = reranker.options
    if not options.is_remote or options.api_key is not None:
        return reranker
    key = _key(options)
    if key is None:
        return reranker
    options.api_key = SecretStr(key)
    return type(reranker).from_options(options, scorer=reranker.custom_scorer)


def _key(options: RerankerOptions) -> str | None:
    """Return the key from the environment: ours, or a vendor's for that vendor's own host."""
    from shared_core.scorers.remote.choosing import named_dialect
    from shared_core.scorers.remote.dialects import vendor_at
    from shared_core.scorers.remote.keys import api_key

    address = options.base_url or getattr(named_dialect(options), "base_url", None) or ""
    url = urlsplit(address)
    vendor = vendor_at(url.hostname) if url.scheme == "https" else None
    return api_key(options, () if vendor is None else vendor.key_variables)
