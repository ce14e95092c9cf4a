"""What numbers a model can be given; imports no Paddle, so that every engine can ask."""

import numpy as np

from mobilebert.base.errors import InputError


def check_ids(name: str, ids: np.ndarray, size: int) -> None:
    """Refuse ids that a table has no row for, before anything looks them up.

    Left alone, ONNX counts negative ids from the table's end, OpenVINO takes zeros, and Paddle reads what lies before
    the table for -1 and answers NaN or large numbers.

    Args:
        name: of the input, for the message.
        ids: int, any shape.
        size: rows of the table.

    Raises:
        InputError: an id below 0, or ``size`` or more.
    """
    if ids.size == 0 or (ids.min() >= 0 and ids.max() < size):
        return
    place = tuple(int(at) for at in np.argwhere((ids < 0) | (ids >= size))[0])
    raise InputError(
        f"{name}: {ids[place]} at {list(place)}, expected 0 to {size - 1}; is it of another tokenizer or vocabulary?"
    )


def check_token_types(ids: np.ndarray, size: int) -> None:
    """``check_ids`` of token types.

    Raises:
        InputError: a type that has no row, or a second text where there is one type only.
    """
    if size == 1 and (ids != 0).any():
        raise InputError("token_type_ids mark a second text, but type_vocab_size=1: this model reads no pairs")
    check_ids("token_type_ids", ids, size)


def check_length(length: int, positions: int) -> None:
    """Refuse rows longer than the model has positions for.

    Raises:
        InputError: ``length`` is larger than ``positions``.
    """
    if length > positions:
        raise InputError(f"{length} tokens in a row, the model has {positions} positions: truncate")
