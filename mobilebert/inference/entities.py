"""Entities of raw texts: their words, the classes of these, and places in the original."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilebert.data.ner import schemes
from mobilebert.data.ner.encode import WordRows
from mobilebert.data.ner.words import Place, split_words


@dataclass(frozen=True)
class Entity:
    """A name in a text; of a model for parts of speech and the like, a word with its tag.

    Attributes:
        text: ``text[start:end]``.
        start, end: characters of the original text.
        type: such as ``PER``.
        score: mean probability of its words' tags.
    """

    text: str
    start: int
    end: int
    type: str
    score: float


@dataclass(frozen=True)
class SplitTexts:
    """N texts and the places of their words."""

    texts: Sequence[str]
    places: list[list[Place]]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "SplitTexts":
        """Split texts as ``data.ner.words`` does."""
        return cls(texts, [split_words(text) for text in texts])

    @property
    def words(self) -> list[list[str]]:
        """The words of each text, as they stand there."""
        pairs = zip(self.texts, self.places, strict=True)
        return [[text[low:high] for low, high in places] for text, places in pairs]

    def entities(self, encoded: WordRows, logits: np.ndarray, labels: Sequence[str]) -> list[list[Entity]]:
        """What classes mark, in the order of the text.

        Args:
            encoded: of ``words``.
            logits: [W, L] of all words.
            labels: the model's classes.
        """
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = np.split(weights.max(axis=1) / weights.sum(axis=1), np.cumsum(encoded.counts)[:-1])
        scheme = schemes.scheme_of(labels)
        found = []
        for text, places, tags, of_words in zip(
            self.texts, self.places, encoded.tags(logits, labels), scores, strict=True
        ):
            entities = []
            for kind, first, last in schemes.entities(tags, scheme):
                if kind == schemes.OUTSIDE:  # of a plain scheme
                    continue
                start, end = places[first][0], places[last - 1][1]
                entities.append(Entity(text[start:end], start, end, kind, float(of_words[first:last].mean())))
            found.append(entities)
        return found
