"""Names of before; to be imported from ``support``."""

from support.models import SIZES, paddle_twin, torch_model  # noqa: F401
from support.models import random_values as perturb  # noqa: F401
from support.texts import NAMES, squad, write_squad, write_vocabulary  # noqa: F401
