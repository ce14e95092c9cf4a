"""Names of before; to be imported from ``support``."""

from support.models import CHECKPOINT_SIZES as SIZES  # noqa: F401
from support.models import randomise as perturb  # noqa: F401
from support.models import save_checkpoint, save_checkpoints_and_text  # noqa: F401
from support.texts import CHECKPOINT_VOCABULARY as WORDS  # noqa: F401
from support.texts import write_long_squad as write_squad  # noqa: F401
from support.texts import write_table  # noqa: F401
