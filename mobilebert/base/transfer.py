"""What a download may not do: come too slowly, or never end."""

import time

FLOOR = 1024  # bytes a second, on average over a window
WINDOW_SECONDS = 60.0


def megabytes(count: int) -> str:
    """Bytes as a person says them: ``"30.3 MB"``, with a million bytes to the MB."""
    return f"{count / 1e6:,.1f} MB"


class Transfer:
    """Counts what arrives of one download. That nothing at all arrives is for the socket's timeout to find.

    Args:
        limit: bytes that are expected, or else the most that are taken.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._received = 0
        self._since, self._before = time.monotonic(), 0

    def add(self, count: int) -> None:
        """Note that so many bytes have arrived.

        Raises:
            OSError: more than expected, or slower than ``FLOOR``.
        """
        self._received += count
        if self._received > self._limit:
            raise OSError(f"sends more than {self._limit} bytes")
        seconds = time.monotonic() - self._since
        if seconds < WINDOW_SECONDS:
            return
        if (rate := (self._received - self._before) / seconds) < FLOOR:
            raise TimeoutError(f"too slow, {rate:.0f} bytes a second over {seconds:.0f} s")
        self._since, self._before = time.monotonic(), self._received
