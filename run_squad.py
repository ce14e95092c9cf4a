"""Train, evaluate and predict on SQuAD v1.1 and v2.0, or on questions of one's own in SQuAD's format."""

from mobilebert.base import cli
from mobilebert.commands.squad import main

if __name__ == "__main__":
    cli.run(main)
