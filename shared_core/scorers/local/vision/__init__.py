"""Models that judge images, too: Qwen3-VL-Reranker."""
