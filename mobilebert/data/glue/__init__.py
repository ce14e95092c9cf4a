"""GLUE: its tasks, its files and where they are downloaded from."""

from mobilebert import _aliases


def __getattr__(name: str):
    # For one version: what is in `tasks` was here.
    return _aliases.attribute(__name__, name)
