"""Spans and texts from flat arrays, as small features are written in tests."""

from collections.abc import Sequence

import numpy as np

from mobilebert.data.packed import PackedRows
from mobilebert.data.qa.answers import SquadAnswers, answers_of
from mobilebert.data.qa.spans import AnswerRules, extract_spans


def packed(
    example_ids: Sequence[str], example_index: np.ndarray, row_starts: np.ndarray, offsets: np.ndarray
) -> PackedRows:
    """Rows of which only the places of their tokens count."""
    count = int(row_starts[-1])
    return PackedRows(
        input_ids=np.zeros(count, np.int32),
        row_starts=np.asarray(row_starts),
        second_starts=np.zeros(len(row_starts) - 1, np.int32),
        example_ids=example_ids,
        example_index=np.asarray(example_index),
        offsets=offsets,
    )


def extract_answers(
    example_ids, contexts, example_index, row_starts, offsets, start_logits, end_logits, **rules
) -> SquadAnswers:
    """The rule of ``extract_spans``, from flat arrays to texts."""
    rows = packed(example_ids, example_index, row_starts, offsets)
    found = extract_spans(rows, start_logits, end_logits, AnswerRules(**rules))
    return answers_of(found, example_ids, contexts)
