"""Spans as texts: what SQuAD's files of answers hold, and their official scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilebert.base import outputs
from mobilebert.base.files import write_json
from mobilebert.data.qa.metrics import evaluate_v1, evaluate_v2
from mobilebert.data.qa.spans import RankedSpans
from mobilebert.data.qa.squad_json import SquadExample

FILES = ("predictions.json", "nbest_predictions.json", "null_odds.json")


@dataclass(frozen=True)
class SquadAnswers:
    """Answers by question id, in the order of the questions.

    Attributes:
        predictions: the answer; ``""`` for "no answer" (v2.0 only).
        nbest: the spans of ``RankedSpans``, each with ``text``, ``probability``, ``start_logit``, ``end_logit``.
        null_odds: as in ``RankedSpans``; empty for v1.1.
    """

    predictions: dict[str, str]
    nbest: dict[str, list[dict]]
    null_odds: dict[str, float]

    def write(self, folder: Path) -> None:
        """Write ``FILES``, the last for v2.0 only, and note them in the folder's record."""
        outputs.record(folder, FILES)
        for name, content in zip(FILES, (self.predictions, self.nbest, self.null_odds), strict=True):
            if content:
                write_json(folder / name, content)

    def surest(self, examples: Sequence[SquadExample], count: int) -> list[SquadExample]:
        """Up to ``count`` questions that are answered right, of the surer half of them, from all over the file."""

        def probability(example: SquadExample) -> float:
            chosen = self.predictions[example.id]
            return max(span["probability"] for span in self.nbest[example.id] if span["text"] == chosen)

        right = [example for example in examples if self.predictions[example.id] in example.answers]
        half = sorted(map(probability, right))[len(right) // 2 :]
        sure = [example for example in right if probability(example) >= half[0]]
        count = min(count, len(sure))
        return [sure[len(sure) * (2 * place + 1) // (2 * count)] for place in range(count)]

    def score(self, examples: Sequence[SquadExample], version_2_with_negative: bool) -> dict[str, float]:
        """The official scores, in percent: v1.1's ``exact_match`` and ``f1``, or v2.0's whole list."""
        gold = {example.id: example.answers for example in examples}
        if not version_2_with_negative:
            return evaluate_v1(gold, self.predictions)
        # The threshold has made its choice already: the predictions count as they are.
        return evaluate_v2(gold, self.predictions, self.null_odds, null_threshold=math.inf)


def answers_of(found: Sequence[RankedSpans], ids: Sequence[str], contexts: Sequence[str]) -> SquadAnswers:
    """Texts of what was found.

    Args:
        found: [Q].
        ids, contexts: [Q] of the questions.
    """
    predictions, nbest, null_odds = {}, {}, {}
    for key, context, ranked in zip(ids, contexts, found, strict=True):
        predictions[key] = ranked.best.text(context)
        nbest[key] = [
            {
                "text": span.text(context),
                "probability": float(probability),
                "start_logit": float(span.start_logit),
                "end_logit": float(span.end_logit),
            }
            for span, probability in zip(ranked.spans, ranked.probabilities(), strict=True)
        ]
        if ranked.null_odds is not None:
            null_odds[key] = ranked.null_odds
    return SquadAnswers(predictions, nbest, null_odds)
