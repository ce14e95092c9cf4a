"""Train a classifier on a table of one's own: texts and labels, in a CSV, TSV or JSON file."""

from mobilebert.base import cli
from mobilebert.commands.classify import main

if __name__ == "__main__":
    cli.run(main)
