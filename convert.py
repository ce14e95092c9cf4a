"""Convert a MobileBERT checkpoint from PyTorch (Hugging Face) to Paddle, or back."""

from mobilebert.base import cli
from mobilebert.commands.convert import main

if __name__ == "__main__":
    cli.run(main)
