#!/usr/bin/env python
"""Ask a fine-tuned model: answer questions about a passage, classify texts; one, many, or at a prompt."""

from mobilebert.base import cli
from mobilebert.commands.predict import main

if __name__ == "__main__":
    cli.run(main)
