"""What holds for every text, from whichever file or caller."""

from mobilebert.base.errors import InputError

# Of one passage, question, cell or line. Reading takes some 0.3 GB and 1 to 6 s for a million characters; the longest
# novels have three million.
LONGEST_TEXT = 4_000_000  # characters


def check_text(where: str, text: str) -> None:
    """Refuse a text that cannot be encoded or is longer than any that is meant to be read.

    Args:
        where: begins the message.
        text: may be empty.

    Raises:
        InputError: half of a surrogate pair, as JSON may hold it, or a byte that was not UTF-8; or too long.
    """
    if len(text) > LONGEST_TEXT:
        raise InputError(f"{where} has {len(text):,} characters, and {LONGEST_TEXT:,} at most are read; cut it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} has an invalid character at {error.start}") from None
