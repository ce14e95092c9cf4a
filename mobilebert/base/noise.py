"""Keeping what a library's C++ prints off the terminal."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def without(is_noise: Callable[[bytes], bool]) -> Iterator[None]:
    """Keep lines from standard error, whoever in this process writes them; the others come when the block ends.

    Args:
        is_noise: of a line; after an exception every line comes.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            for line in caught:
                if failed or not is_noise(line):
                    os.write(2, line)
