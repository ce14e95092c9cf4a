"""Pre-train MobileBERT with a teacher: knowledge transfer layer by layer, then pre-training distillation."""

from mobilebert.base import cli
from mobilebert.commands.distill import main

if __name__ == "__main__":
    cli.run(main)
