"""From texts to encodings: what a call may be given, how texts are shortened to windows, how rows are filled up.

The ``tokenizers`` library does the work; this file makes it safe for threads, says which text is at fault, and adds
the windows that are told by their step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, Tokenizer
from tokenizers.processors import BertProcessing, TemplateProcessing

from mobilebert.base.errors import InputError, StuckWindowsError

STRATEGIES = ("only_first", "only_second", "longest_first")
SIDES = ("right", "left")
UNLIMITED = int(1e20)  # from here on a model_max_length means none, as in transformers
_MAX_VARIANTS = 128


class BatchEncoding(dict):
    """What a tokenizer call returns: a dict whose keys are attributes too, and the encodings behind it.

    Attributes:
        encodings: one ``tokenizers.Encoding`` a row (a window is a row): ``char_to_token``, ``word_to_tokens`` ...
    """

    def __init__(self, data: dict[str, Any], encodings: list[Encoding]):
        super().__init__(data)
        self.__dict__["encodings"] = encodings

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def tokens(self, row: int = 0) -> list[str]:
        """The tokens of a row, as strings."""
        return self.encodings[row].tokens

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        """For each token of a row: 0 in the first text, 1 in the second, None for special tokens."""
        return self.encodings[row].sequence_ids

    def word_ids(self, row: int = 0) -> list[int | None]:
        """For each token of a row: the index of its word, None for special tokens."""
        return self.encodings[row].word_ids

    def char_to_token(self, row: int, char: int, sequence_index: int = 0) -> int | None:
        """The token of a row that covers a character of text ``sequence_index``; None where none does."""
        return self.encodings[row].char_to_token(char, sequence_index)


@dataclass(frozen=True)
class Truncation:
    """How a call shortens its texts.

    Attributes:
        strategy: one of ``STRATEGIES``.
        max_length: tokens a row, special tokens included.
        stride: tokens that neighbouring windows share.
        doc_stride: tokens from one window's start to the next's, instead of ``stride``; None if not asked.
        side: where tokens are cut off, ``"right"`` or ``"left"``.
    """

    strategy: str
    max_length: int
    stride: int
    doc_stride: int | None
    side: str


@dataclass(frozen=True)
class Padding:
    """How a call fills its rows up.

    Attributes:
        length: tokens a row; None for the longest row of the batch.
        multiple_of: the length is rounded up to a multiple of this; None for not.
        side: where the filling goes, ``"right"`` or ``"left"``.
        pad_id, pad_token: what rows are filled with.
    """

    length: int | None
    multiple_of: int | None
    side: str
    pad_id: int
    pad_token: str


class Backend:
    """A ``tokenizers.Tokenizer`` that is never changed once made.

    The library keeps truncation and padding as settings of its tokenizer, so two threads that want different ones
    would get each other's. Here each truncation has a tokenizer of its own; they share vocabulary and rules, and one
    is made in 0.2 ms. Padding is done on the encodings.
    """

    def __init__(self, base: Tokenizer):
        self.base = base
        self._variants: dict[tuple, Tokenizer] = {}
        # Texts by themselves, as parts of pairs. Without a token type of its own, the second text of a pair would be
        # of type 0 in all windows but the first.
        self._first, self._second = self.copy(), self.copy()
        self._first.post_processor = TemplateProcessing(single=["$A:0"], pair=["$A:0", "$B:1"], special_tokens=[])
        self._second.post_processor = TemplateProcessing(single=["$A:1"], pair=["$A:0", "$B:1"], special_tokens=[])
        # What puts them together. A template leaves the second text, which was once encoded as a first one, the mark of
        # a first one, which then hides the true first text from ``sequence_ids`` and ``char_to_token``.
        cls, sep = zip(*(base.encode("").tokens, base.encode("").ids), strict=True)
        self._join = BertProcessing(sep, cls)

    def __getstate__(self) -> Tokenizer:
        return self.base

    def __setstate__(self, base: Tokenizer) -> None:
        self.__init__(base)

    def copy(self) -> Tokenizer:
        """A tokenizer of the same vocabulary and rules, without truncation and padding, free to be changed."""
        base = self.base
        copy = Tokenizer(base.model)
        copy.normalizer, copy.pre_tokenizer = base.normalizer, base.pre_tokenizer
        copy.decoder, copy.post_processor = base.decoder, base.post_processor
        copy.encode_special_tokens = base.encode_special_tokens
        for _, token in sorted(base.get_added_tokens_decoder().items()):
            copy.add_tokens([token])
        return copy

    def truncating(self, truncation: Truncation | None, stride: int = 0) -> Tokenizer:
        """The tokenizer of one truncation, with windows that share ``stride`` tokens.

        Raises:
            InputError: ``stride`` leaves no place for new tokens.
        """
        if truncation is None:
            return self.base
        key = (truncation, stride)
        tokenizer = self._variants.get(key)
        if tokenizer is None:
            tokenizer = self.copy()
            strategy, side = truncation.strategy, truncation.side
            try:
                tokenizer.enable_truncation(truncation.max_length, stride=stride, strategy=strategy, direction=side)
            except ValueError:
                raise _stride_too_large(stride, truncation.max_length - 2) from None
            tokenizer.post_processor = self._join
            if len(self._variants) >= _MAX_VARIANTS:
                self._variants = {}
            self._variants[key] = tokenizer
        return tokenizer

    def encode(
        self,
        inputs: list,
        truncation: Truncation | None,
        padding: Padding | None,
        add_special_tokens: bool,
        is_split: bool,
        first_index: int = 0,
    ) -> list[Encoding]:
        """Encode what ``as_inputs`` returned; the windows of a text are its encoding's ``overflowing``.

        Args:
            inputs: texts, or (text, text) tuples.
            truncation: how to shorten them, None for not.
            padding: how to fill rows up, None for not.
            add_special_tokens: wrap texts into ``[CLS]`` and ``[SEP]``.
            is_split: texts are lists of words.
            first_index: the index of the first input, for messages.

        Raises:
            InputError: a text cannot be shortened as asked.
        """
        if not inputs:
            return []
        is_pair = isinstance(inputs[0], tuple)
        if truncation is None:
            encodings = self.base.encode_batch(inputs, is_split, add_special_tokens)
        else:
            special = self.base.num_special_tokens_to_add(is_pair) if add_special_tokens else 0
            if truncation.max_length < max(special, 1):  # the library would return the texts at full length
                raise InputError(f"max_length={truncation.max_length}: special tokens alone are {special}; raise it")
            if truncation.stride or truncation.doc_stride is not None:
                available = truncation.max_length - special
                encodings = self._encode_windows(
                    inputs, truncation, available, add_special_tokens, is_split, first_index
                )
            else:
                encodings = self._encode_batch(inputs, truncation, add_special_tokens, is_split, first_index)
        if padding:
            pad(encodings, padding)
        return encodings

    def _encode_batch(
        self, inputs: list, truncation: Truncation, add_special_tokens: bool, is_split: bool, first_index: int
    ) -> list[Encoding]:
        tokenizer = self.truncating(truncation, truncation.stride)
        try:
            return tokenizer.encode_batch(inputs, is_split, add_special_tokens)
        except Exception:  # the library has no class of its own for a text that cannot be shortened, and names none
            for index, item in enumerate(inputs, first_index):
                try:
                    tokenizer.encode_batch([item], is_split, add_special_tokens)
                except Exception:
                    raise _too_short(truncation, index, isinstance(item, tuple)) from None
            raise

    def _encode_windows(
        self,
        inputs: list,
        truncation: Truncation,
        available: int,
        add_special_tokens: bool,
        is_split: bool,
        first_index: int,
    ) -> list[Encoding]:
        """Encode each distinct text once, then put pairs together and cut them into windows.

        SQuAD asks 4.6 questions about a paragraph, so this is 3 times as fast as encoding pairs; and the
        lengths are known before the library cuts, which aborts its thread where windows would not advance.
        """
        is_pair = isinstance(inputs[0], tuple)
        cuts_both = is_pair and truncation.strategy == "longest_first"
        if cuts_both and truncation.doc_stride is not None:
            raise InputError(
                "truncation='longest_first': doc_stride steps over one text of a pair; use only_first or only_second"
            )
        if is_pair:
            firsts, seconds = zip(*inputs, strict=True)
            encoded = [
                _encode_distinct(self._first, firsts, is_split),
                _encode_distinct(self._second, seconds, is_split),
            ]
        else:
            encoded = [_encode_distinct(self._first, inputs, is_split)]
        cut = 1 if truncation.strategy == "only_second" else 0
        encodings = []
        for index, parts in enumerate(zip(*encoded, strict=True), first_index):
            lengths = [len(part) for part in parts]
            stride = truncation.stride
            if sum(lengths) > available > 0:  # with no token available the library leaves the special tokens alone
                if cuts_both:
                    shares = longest_first_lengths(*lengths, available)
                else:
                    shares = list(lengths)
                    if cut < len(shares):
                        shares[cut] += available - sum(lengths)
                    if cut >= len(shares) or shares[cut] < 1:
                        raise _too_short(truncation, index, is_pair)
                    if truncation.doc_stride is not None:
                        # Google's windows: the step is at most the available tokens, so that none is left out.
                        stride = max(0, shares[cut] - truncation.doc_stride)
                for length, rest in zip(lengths, shares, strict=True):
                    if 0 < rest < length and stride >= rest:
                        raise _stride_too_large(stride, rest, f" of text[{index}]")
            tokenizer = self.truncating(truncation, stride)
            if is_pair and not add_special_tokens:  # nothing joins parts without special tokens and keeps them apart
                encodings.append(tokenizer.encode(*inputs[index - first_index], is_split, add_special_tokens))
            else:
                encodings.append(tokenizer.post_process(*parts, add_special_tokens=add_special_tokens))
        return encodings


def as_inputs(text: Any, pair: Any, is_split: bool, first_index: int = 0) -> tuple[list, bool]:
    """Sort out what a call was given.

    Args:
        text: a text, or a list of texts or of (text, text) tuples; where ``is_split``, of lists of words.
        pair: the second text or texts, or None.
        is_split: texts are lists of words.
        first_index: the index of the first text, for messages.

    Returns:
        A list of texts, or of (text, text) tuples, and whether it was a batch.

    Raises:
        InputError: something is not a text, or there are not as many second texts.

    Source: transformers 5.23 ``TokenizersBackend._encode_plus``.
    """
    if is_split:
        is_batch = isinstance(text, list | tuple) and bool(text) and isinstance(text[0], list | tuple)
    else:
        is_batch = isinstance(text, list | tuple)
    if not is_batch:
        # An empty second text beside a single one counts as none, as in transformers; in a batch it is a text.
        inputs = [(text, pair) if pair else text]
    elif pair is None:
        inputs = list(text)
    else:
        if isinstance(pair, str) or len(text) != len(pair):
            got = "one text" if isinstance(pair, str) else f"{len(pair)} texts"
            raise InputError(f"text_pair: {got} for a batch of {len(text)}; give one for each text")
        inputs = list(zip(text, pair, strict=True))
    is_pair = bool(inputs) and _is_pair(inputs[0], is_split)
    for index, item in enumerate(inputs, first_index):
        if _is_pair(item, is_split) != is_pair:
            raise InputError(f"text[{index}]: a batch holds either texts or pairs of texts; this one mixes them")
        for part in item if is_pair else (item,):
            _check_text(f"text[{index}]" if is_batch else "text", part, is_split)
    if is_split and not is_pair:
        inputs = [list(item) for item in inputs]
    return inputs, is_batch


def choose_truncation(
    strategy: bool | str, max_length: int | None, stride: int, doc_stride: int | None, side: str
) -> Truncation | None:
    """Check what a call says about shortening; None where nothing is to be shortened, or no length is known.

    Args:
        strategy: False, True (longest-first), or one of ``STRATEGIES``.
        max_length, stride, doc_stride, side: as in ``Truncation``.

    Raises:
        InputError: a value outside its range.
    """
    if strategy is True:
        strategy = "longest_first"
    if strategy not in (False, "do_not_truncate"):
        check_choice("truncation", strategy, STRATEGIES)
    if stride < 0:
        raise InputError(f"stride={stride}: the tokens that windows share; give 0 or more")
    if doc_stride is not None:
        if stride:
            raise InputError(f"stride={stride} and doc_stride={doc_stride}: give the overlap or the step, not both")
        if doc_stride < 1:
            raise InputError(f"doc_stride={doc_stride}: the tokens from window to window; give 1 or more")
    if strategy in (False, "do_not_truncate") or max_length is None:
        return None
    return Truncation(strategy, max_length, stride, doc_stride, side)


def choose_padding(
    padding: bool | str,
    max_length: int | None,
    multiple_of: int | None,
    side: str,
    pad_id: int,
    pad_token: str,
    truncation: Truncation | None,
) -> Padding | None:
    """Check what a call says about filling up; None where nothing is to be filled, or no length is known.

    Args:
        padding: False, True or ``"longest"``, or ``"max_length"``.
        max_length: tokens a row under ``"max_length"``.
        multiple_of, side, pad_id, pad_token: as in ``Padding``.
        truncation: what the same call shortens to.

    Raises:
        InputError: a value outside its range, or two that exclude each other.
    """
    check_choice("padding_side", side, SIDES)
    if padding in (False, "do_not_pad"):
        return None
    if padding is not True:
        check_choice("padding", padding, ("longest", "max_length"))
    if multiple_of is not None and multiple_of < 1:
        raise InputError(f"pad_to_multiple_of={multiple_of}: give 1 or more")
    if truncation and multiple_of and truncation.max_length % multiple_of:
        raise InputError(f"max_length={truncation.max_length}: no multiple of pad_to_multiple_of={multiple_of}")
    if padding == "max_length" and max_length is None:
        return None
    return Padding(max_length if padding == "max_length" else None, multiple_of, side, pad_id, pad_token)


def longest_first_lengths(n_first: int, n_second: int, available: int) -> tuple[int, int]:
    """Tokens that each of two texts keeps where both together are longer than `available` tokens, longest first.

    Source: ``truncate_encodings`` of tokenizers 0.23.
    """
    shorter, longer = sorted((n_first, n_second))
    longer = shorter if shorter > available else max(shorter, available - shorter)
    if shorter + longer > available:
        shorter, longer = available // 2, available // 2 + available % 2
    return (longer, shorter) if n_first > n_second else (shorter, longer)


def pad(encodings: list[Encoding], padding: Padding) -> None:
    """Fill encodings and their windows up, in place."""
    length = max(len(encoding) for encoding in encodings) if padding.length is None else padding.length
    if padding.multiple_of:
        length = -(-length // padding.multiple_of) * padding.multiple_of
    for encoding in encodings:
        encoding.pad(length, direction=padding.side, pad_id=padding.pad_id, pad_token=padding.pad_token)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Check that an argument is one of the values it may have.

    Raises:
        InputError: it is not.
    """
    if value not in choices:
        raise InputError(f"{name}={value!r}: expected one of {', '.join(choices)}")


def _is_pair(item: Any, is_split: bool) -> bool:
    """Two texts in a tuple; where texts are lists of words, a tuple of two lists (a tuple of strings is words)."""
    return isinstance(item, tuple) and len(item) == 2 and (not is_split or isinstance(item[0], list | tuple))


def _check_text(where: str, text: Any, is_split: bool) -> None:
    """Refuse what is not a text, and half surrogate pairs, which no encoding of Unicode can hold."""
    if is_split and not isinstance(text, list | tuple):
        raise InputError(f"{where}: {type(text).__name__} where a list of words is expected (is_split_into_words)")
    for word in text if is_split else (text,):
        if not isinstance(word, str):
            raise InputError(f"{where}: {type(word).__name__} where a string is expected; check the input for gaps")
        if word.isascii():
            continue
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{where}: half a surrogate pair (U+{ord(word[error.start]):04X}) at character {error.start}; "
                "decode the text again, or replace it"
            ) from None


def _encode_distinct(tokenizer: Tokenizer, texts: Sequence, is_split: bool) -> list[Encoding]:
    """Encode texts by themselves, equal ones once."""
    keys = [tuple(text) for text in texts] if is_split else texts
    distinct = dict.fromkeys(keys)
    inputs = [list(key) for key in distinct] if is_split else list(distinct)
    encodings = dict(zip(distinct, tokenizer.encode_batch(inputs, is_split, True), strict=True))
    return [encodings[key] for key in keys]


def _stride_too_large(stride: int, available: int, where: str = "") -> InputError:
    return StuckWindowsError(
        f"stride={stride}: windows{where} have room for {available} tokens and would never advance; "
        "lower stride or raise max_length"
    )


def _too_short(truncation: Truncation, index: int, is_pair: bool) -> InputError:
    if truncation.strategy == "only_second" and not is_pair:
        return InputError(
            f"text[{index}]: longer than max_length={truncation.max_length}, and for truncation='only_second' there is "
            "no second text; use only_first or give text_pair"
        )
    return InputError(
        f"text[{index}]: cutting the {truncation.strategy.removeprefix('only_')} text alone cannot reach "
        f"max_length={truncation.max_length}, the other is too long; raise max_length, shorten the other, "
        "or use longest_first"
    )
