"""The images of one call, from their pixels to what is inserted into each of its packs."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from shared_core.images.content import Content
from shared_core.prompt.encoding import EncodedGroup, PairEncoder
from shared_core.scorers.local.checkpoints.vision_config import VisionConfig
from shared_core.scorers.local.checkpoints.vision_weights import VisionPart
from shared_core.scorers.local.inserted import Inserted
from shared_core.scorers.local.packing import Pack
from shared_core.scorers.local.process_settings import computed
from shared_core.scorers.local.vision.album import Album, Shown
from shared_core.scorers.local.vision.building import build_tower
from shared_core.scorers.local.vision.encoder import ContentEncoder
from shared_core.scorers.local.vision.pixels import pixel_values
from shared_core.scorers.local.vision.tower import VisionTower


class VisionModel:
    """What a model that reads images has besides a model for text alone.

    Args:
        config: The sizes of the vision tower.
        tower: The vision tower.
        encoder: Makes prompts.
        first_id: The first token id beyond the vocabulary.
        n_kept: The most images whose embeddings are kept from one call to the next.
    """

    def __init__(
        self,
        config: VisionConfig,
        tower: VisionTower,
        encoder: ContentEncoder,
        first_id: int,
        n_kept: int,
    ) -> None:
        self.config, self.tower, self.encoder = config, tower, encoder
        self._first_id, self._n_kept = first_id, n_kept
        self._kept: OrderedDict[str, list[Tensor]] = OrderedDict()  # by digest, the latest last

    def begin(self) -> VisionCall:
        """Return the state of a new call."""
        return VisionCall(self, Album(self._first_id, self.config.token_side))

    def features(self, shown: Shown) -> list[Tensor]:
        """Return what the tower makes of an image, computed unless it is kept."""
        digest = shown.picture.digest
        if digest not in self._kept:
            values = pixel_values(shown.picture.pixels, shown.grid, self.config)
            self._kept[digest] = computed(lambda: self.tower(values, shown.grid))
        self._kept.move_to_end(digest)
        found = self._kept[digest]
        while len(self._kept) > self._n_kept:
            self._kept.popitem(last=False)
        return found


def read_vision(
    part: VisionPart,
    texts: PairEncoder,
    first_id: int,
    device: torch.device,
    dtype: torch.dtype,
    n_kept: int,
) -> VisionModel:
    """Return what a checkpoint reads images with.

    Args:
        part: Its vision tower.
        texts: Encodes texts.
        first_id: The first token id beyond the vocabulary.
        device: The device that computes.
        dtype: The dtype of matrix products.
        n_kept: The most images whose embeddings are kept from one call to the next.

    Raises:
        ModelLoadError: A weight cannot be read, is not finite, or too large for the dtype.
    """
    tower = build_tower(part.config, part.weights, device, dtype)
    return VisionModel(part.config, tower, ContentEncoder(texts), first_id, n_kept)


class VisionCall:
    """The images of one call: each goes through the tower once, before the first pack that has it.

    What the tower made of it is kept until the last document with it is scored.

    Args:
        model: The model.
        album: The images.
    """

    def __init__(self, model: VisionModel, album: Album) -> None:
        self.model, self.album = model, album
        self._features: dict[int, list[Tensor]] = {}
        self._uses: Counter[int] = Counter()

    def encode(
        self,
        instruction: str,
        query: str | Content,
        documents: Sequence[str | Content],
        first_index: int = 0,
    ) -> EncodedGroup:
        """Return a request's token ids; see `ContentEncoder.encode`."""
        group = self.model.encoder.encode(instruction, query, documents, self.album, first_index)
        for document in group.documents:
            self._uses.update(self._images(group, document.ids))
        return group

    def inserted(self, pack: Pack, device: torch.device) -> Inserted | None:
        """Return the images of a pack; ``None`` if it has none."""
        places: list[int] = []
        found: list[Shown] = []
        for place, shown in self.album.images_in(pack.ids):
            places += range(place, place + shown.grid.n_tokens)
            found.append(shown)
        if not found:
            return None
        for shown in found:
            if shown.first_id not in self._features:
                self._features[shown.first_id] = self.model.features(shown)
        features = [self._features[shown.first_id] for shown in found]
        first, *additions = (torch.cat(parts) for parts in zip(*features, strict=True))
        return Inserted(
            torch.tensor(places, device=device),
            first,
            additions,
            self.album.positions(pack).to(device),
        )

    def scored(self, groups: Sequence[EncodedGroup], documents: Sequence[tuple[int, int]]) -> None:
        """Let go what only these documents needed."""
        for group_index, document_index in documents:
            group = groups[group_index]
            for first_id in self._images(group, group.documents[document_index].ids):
                self._uses[first_id] -= 1
                if not self._uses[first_id]:
                    self._features.pop(first_id, None)

    @property
    def n_kept(self) -> int:
        """The images whose embeddings are in memory."""
        return len(self._features)

    def _images(self, group: EncodedGroup, ids: Sequence[int]) -> set[int]:
        """Return the first ids of the images of a document's prompt."""
        return {
            shown.first_id
            for part in (group.prefix_ids, ids)
            for _, shown in self.album.images_in(part)
        }
