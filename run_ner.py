"""Train, evaluate and predict named entities, or other tags of words: CoNLL-2003, WNUT-17, and files of one's own."""

from mobilebert.base import cli
from mobilebert.commands.ner import main

if __name__ == "__main__":
    cli.run(main)
