"""Encoding of prompts with images. See `shared_core.prompt.encoding` for those of texts alone."""

from __future__ import annotations

from collections.abc import Sequence

from shared_core.errors import ImageError
from shared_core.images.content import Content, has_images, text_of
from shared_core.prompt.encodable import check_encodable
from shared_core.prompt.encoding import EncodedDocument, EncodedGroup, PairEncoder
from shared_core.prompt.forms import IMAGE_END, IMAGE_START, NOTHING, closed_query, opened_query
from shared_core.scorers.local.vision.album import Album


class ContentEncoder:
    """Encodes queries and documents of texts and images.

    Images are in front of the text, in their order. Of a document that is too long, the end of the
    text is cut, and never an image.

    Args:
        encoder: Encodes texts, by the form of the prompt for images.
    """

    def __init__(self, encoder: PairEncoder) -> None:
        self._texts = encoder
        self._start_id, self._end_id = map(encoder.control_id, (IMAGE_START, IMAGE_END))
        self._opening_ids = encoder.text_ids(encoder.form.opening)

    def encode(
        self,
        instruction: str,
        query: str | Content,
        documents: Sequence[str | Content],
        album: Album,
        first_index: int = 0,
    ) -> EncodedGroup:
        """Return the token ids of one query's prompts, the shared prefix once.

        Args:
            instruction: The instruction.
            query: The query.
            documents: The documents.
            album: The images of the call; those here are added to it.
            first_index: The first document's place in the call, for messages.

        Raises:
            QueryTooLongError: No token would be left for a document.
            TextEncodingError: A text has a lone surrogate; names which text.
            ImageError: The images of a document do not fit, or are none that the model reads.
        """
        plain_query, plain = _plain(query), [_plain(document) for document in documents]
        if isinstance(plain_query, str) and all(isinstance(one, str) for one in plain):
            texts = [one for one in plain if isinstance(one, str)]
            return self._texts.encode(instruction, plain_query, texts)
        instruction = self._texts.form.instruction(instruction)
        fields = self._texts.form.fields(instruction, text_of(plain_query))
        check_encodable(fields, [text_of(document) for document in plain])
        if isinstance(plain_query, str):
            parts = self._texts.first_text_ids(fields, self._texts.max_length)
        else:
            parts = [
                *self._texts.text_ids(opened_query(instruction)),
                *self._image_ids(plain_query, album, "the query"),
                *self._texts.first_text_ids(closed_query(plain_query.text), self._texts.max_length),
            ]
        prefix_ids = self._texts.head_ids + parts
        room = self._texts.room(len(prefix_ids))
        encoded = []
        for index, document in enumerate(plain, first_index):
            ids = self._document_ids(document, room, album, f"document {index}")
            kept = ids[:room] + self._texts.suffix_ids
            encoded.append(EncodedDocument(kept, len(prefix_ids) + len(kept), len(ids) > room))
        return EncodedGroup(prefix_ids, encoded)

    def _document_ids(
        self, document: str | Content, room: int, album: Album, name: str
    ) -> list[int]:
        """Return the token ids of an opened document: more than there is room for, or all."""
        if isinstance(document, str):
            return self._texts.first_text_ids(self._texts.form.opening + document, room + 1)
        image_ids = self._opening_ids + self._image_ids(document, album, name)
        if len(image_ids) > room:
            raise ImageError.of(
                document,
                name,
                f"has images of {len(image_ids)} tokens, and beside the query there is room for "
                f"{room} (max_length={self._texts.max_length}): give fewer or smaller images, or "
                "raise max_length",
            )
        return image_ids + self._texts.first_text_ids(document.text, room - len(image_ids) + 1)

    def _image_ids(self, content: Content, album: Album, name: str) -> list[int]:
        ids = []
        for number, picture in enumerate(content.pictures):
            try:
                shown = album.add(picture)
            except ImageError as error:
                reason = f"has an image that the model cannot see, its image {number}: {error}"
                raise ImageError.of(content, name, reason) from error
            ids += [self._start_id, *shown.ids, self._end_id]
        return ids


def _plain(item: str | Content) -> str | Content:
    """Return a content without images as its text."""
    if isinstance(item, str) or has_images(item):
        return item
    return item.text or NOTHING
