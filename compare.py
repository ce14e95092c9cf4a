"""Do PyTorch and Paddle compute the same function? Layer by layer, head by head; exit code 1 where they do not."""

from mobilebert.base import cli
from mobilebert.commands.compare import main

if __name__ == "__main__":
    cli.run(main)
