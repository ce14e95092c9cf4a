"""Train, evaluate and predict on any GLUE task, or on sentences and pairs of one's own."""

from mobilebert.base import cli
from mobilebert.commands.glue import main

if __name__ == "__main__":
    cli.run(main)
