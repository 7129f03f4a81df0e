"""Rerank documents with Qwen3-Reranker: the names of `shared_core`, and the programs around it.

>>> from qwen3_rerank import Reranker
>>> Reranker("tiny").is_loaded
False
"""

from shared_core import *  # noqa: F403  # `__all__` of shared_core is the public interface
from shared_core import __all__ as __all__
