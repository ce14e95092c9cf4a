"""Does the tokenizer match the reference, token by token?"""

from mobilebert.base import cli
from mobilebert.commands.compare_tokenizer import main

if __name__ == "__main__":
    cli.run(main)
