"""API keys for workers on other machines, which do not have this one's environment."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr

from shared_core.options import RerankerOptions
from shared_core.reranker import Reranker


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
