"""Names of before; to be imported from ``support``."""

from support.models import FAST_PATH_CASES as CLAIMED  # noqa: F401
from support.models import FAST_PATH_SIZES as SMALL  # noqa: F401
from support.models import batch_of_lengths


def make_batch(length=13, masked=(13, 7, 0)):
    return batch_of_lengths(masked, length)
