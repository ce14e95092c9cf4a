"""BERT's rules for pre-training rows, told a second time: token by token, with lists, as slow as they are plain.

Written from what Google's create_pretraining_data.py does, to be compared with ``mobilebert.data.pretrain`` in
distribution. Each rule can be switched to a wrong one, for the comparison to notice.
"""

import random
from dataclasses import dataclass, field

Row = dict[str, object]


@dataclass
class Rules:
    """The rules, and what is wrong with them."""

    max_seq_length: int
    short_seq_prob: float = 0.1
    masked_lm_prob: float = 0.15
    max_predictions: int = 20
    whole_words: bool = False
    mistakes: set[str] = field(default_factory=set)

    def rows(self, documents: list[list[list[int]]], number: int, draw: random.Random) -> list[Row]:
        """One copy of a document; ``documents[d][s]`` is a sentence."""
        document, most = documents[number], self.max_seq_length - 3
        target = most
        if "never short" not in self.mistakes and draw.random() < self.short_seq_prob:
            target = draw.randint(2, most)
        rows: list[Row] = []
        at = 0
        while at < len(document):
            chunk = [document[at]]
            at += 1
            while sum(map(len, chunk)) < target and at < len(document):
                chunk.append(document[at])
                at += 1
            cut = 1
            if len(chunk) > 1 and "first text is one sentence" not in self.mistakes:
                cut = draw.randint(1, len(chunk) - 1)
            first = [token for sentence in chunk[:cut] for token in sentence]
            is_random = len(chunk) == 1 or draw.random() < (0.6 if "0.6 random" in self.mistakes else 0.5)
            if is_random:
                second = self.random_text(documents, number, target - len(first), draw)
                if "nothing is put back" not in self.mistakes:
                    at -= len(chunk) - cut
            else:
                second = [token for sentence in chunk[cut:] for token in sentence]
            whole = list(first), list(second)
            while len(first) + len(second) > most:
                longer = first if len(first) > len(second) else second
                if "cut at the end only" not in self.mistakes and draw.random() < 0.5:
                    del longer[0]
                else:
                    del longer[-1]
            rows.append({"first": first, "second": second, "is_random": is_random, "whole": whole})
        return rows

    def random_text(self, documents, number: int, wanted: int, draw: random.Random) -> list[int]:
        """Sentences of another document, from a random one on."""
        other = number
        while other == number:
            other = draw.randrange(len(documents))
        begin = 0 if "other documents from the start" in self.mistakes else draw.randrange(len(documents[other]))
        text: list[int] = []
        for sentence in documents[other][begin:]:
            text += sentence
            if len(text) >= wanted:
                break
        return text

    def masked(self, pieces: list[str], draw: random.Random) -> list[int]:
        """Which positions are to be predicted, of pieces such as ``["[CLS]", "un", "##do", "[SEP]", ...]``."""
        words: list[list[int]] = []
        for position, piece in enumerate(pieces):
            if piece in ("[CLS]", "[SEP]"):
                continue
            if self.whole_words and words and piece.startswith("##"):
                words[-1].append(position)
            else:
                words.append([position])
        draw.shuffle(words)
        if "long words first" in self.mistakes:
            words.sort(key=len, reverse=True)
        wanted = min(self.max_predictions, max(1, round(len(pieces) * self.masked_lm_prob)))
        chosen: list[int] = []
        for word in words:
            if len(chosen) >= wanted:
                break
            if len(chosen) + len(word) <= wanted:
                chosen += word
            elif "stops at a word too long" in self.mistakes:
                break
        return sorted(chosen)
