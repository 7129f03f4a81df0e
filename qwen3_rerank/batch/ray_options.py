"""Options of Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RayOptions:
    """The cluster, the number of workers, and the resources of each.

    Attributes:
        address: The address of the cluster: ``"auto"`` is the one that this machine belongs to,
            ``"local"`` starts one here, for the time of the job. If this process is already
            connected to a Ray cluster, that one is used.
        workers: The number of workers; ``None`` is as many as the cluster has GPUs for, or CPUs
            where there are no GPUs, and one where a server scores.
        cpus: CPUs of a worker; torch uses that many threads.
        gpus: GPUs of a worker: 0.5 puts two on one; several are for ``engine_args`` of vLLM such
            as ``{"tensor_parallel_size": 4}``.
        resources: Other resources of a worker, by name.
        max_deaths: How many workers may die over one block before it is set aside, and one behind
            another, with no block done between them, before the job stops.
    """

    address: str = "auto"
    workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    max_deaths: int = 3

    def __post_init__(self) -> None:
        for name, least in (("cpus", 0), ("gpus", 0), ("workers", 1), ("max_deaths", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value}: expected {least} or more")
