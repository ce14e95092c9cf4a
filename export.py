"""Turn a fine-tuned checkpoint into a small, fast model: folded exactly, checked, with tokenizer and labels."""

from mobilebert.base import cli
from mobilebert.commands.export import main

if __name__ == "__main__":
    cli.run(main)
