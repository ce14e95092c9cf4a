"""Pre-train MobileBERT: masked language modelling and next sentence prediction, from random weights or a checkpoint."""

from mobilebert.base import cli
from mobilebert.commands.pretrain import main

if __name__ == "__main__":
    cli.run(main)
