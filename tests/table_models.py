"""Names of before; to be imported from ``support``."""

from support.table_models import save_classifier, save_reader  # noqa: F401
