"""Text to token ids, offsets and windows: BERT's WordPiece on the ``tokenizers`` library.

Same ids, offsets, defaults and argument names as transformers' ``BertTokenizer`` (its ``MobileBertTokenizer`` is the
same class). ``compare_tokenizer.py`` checks it against that and against the older pure Python tokenizer.

    tokenizer = MobileBertTokenizer.from_pretrained("weight/paddle")
    batch = tokenizer(questions, contexts, truncation="only_second", max_length=384, stride=128,
                      return_overflowing_tokens=True, padding="max_length", return_tensors="np")
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Encoding, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from mobilebert.base import digests, hub
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_text
from mobilebert.text import vocabulary
from mobilebert.text.encoding import (
    SIDES,
    UNLIMITED,
    Backend,
    BatchEncoding,
    as_inputs,
    check_choice,
    choose_padding,
    choose_truncation,
)

SPECIAL_NAMES = vocabulary.SPECIAL_NAMES
NO_MAX_LENGTH = int(1e30)  # what transformers writes where a tokenizer sets no limit

Text = str | Sequence[str]  # a text, or its words where is_split_into_words


class MobileBertTokenizer:
    """BERT's tokenizer: clean, split at spaces, punctuation and CJK characters, lower-case, then WordPiece.

    Safe to use from several threads.

    Args:
        vocab: token -> id, ids 0 to n-1. Exactly one of ``vocab`` and ``vocab_file`` is given.
        vocab_file: one token a line, the line number is the id.
        do_lower_case: lower-case the text.
        strip_accents: remove accents; None does so where ``do_lower_case``.
        tokenize_chinese_chars: make each CJK character a word.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens; must be in the vocabulary. One given
            as a text is as ``added_tokens`` declares it, where it does.
        model_max_length: the longest input of the model in tokens, where a call names no ``max_length``.
        padding_side, truncation_side: ``"right"`` or ``"left"``.
        added_tokens: id -> token beyond or inside the vocabulary that is matched before the text is split.
        extra_special_tokens: further special tokens; those not in the vocabulary are appended to it.
        split_special_tokens: treat special tokens in the text as plain text.
        clean_up_tokenization_spaces: as in ``decode``.

    Raises:
        InputError: a broken vocabulary, or a value outside its range.

    Source: transformers 5.23 ``BertTokenizer``.
    """

    def __init__(
        self,
        vocab: dict[str, int] | None = None,
        vocab_file: str | os.PathLike | None = None,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        model_max_length: int | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        added_tokens: dict[int, AddedToken] | None = None,
        extra_special_tokens: Sequence[str | AddedToken] = (),
        split_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ):
        if (vocab is None) == (vocab_file is None):
            raise InputError("tokenizer: give either vocab (token -> id) or vocab_file")
        where = "vocabulary" if vocab_file is None else os.fspath(vocab_file)
        vocab = vocabulary.read_vocab(vocab_file) if vocab is None else dict(vocab)
        vocabulary.check_vocab(vocab, where)
        check_choice("padding_side", padding_side, SIDES)
        check_choice("truncation_side", truncation_side, SIDES)

        self.do_lower_case = do_lower_case
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.model_max_length = NO_MAX_LENGTH if model_max_length is None else int(model_max_length)
        self.padding_side = padding_side
        self.truncation_side = truncation_side
        self.split_special_tokens = split_special_tokens
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.unk_token, self.sep_token, self.pad_token = str(unk_token), str(sep_token), str(pad_token)
        self.cls_token, self.mask_token = str(cls_token), str(mask_token)
        self.extra_special_tokens = [str(token) for token in extra_special_tokens]

        base = Tokenizer(WordPiece(vocab, unk_token=self.unk_token))
        base.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            lowercase=do_lower_case,
        )
        base.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        base.decoder = decoders.WordPiece(prefix="##")
        base.encode_special_tokens = split_special_tokens
        named = dict(zip(SPECIAL_NAMES, (unk_token, sep_token, pad_token, cls_token, mask_token), strict=True))
        special = vocabulary.special_tokens([*named.values(), *extra_special_tokens], added_tokens or {})
        vocabulary.add_declared(base, added_tokens or {}, where)
        for name, token in named.items():
            if base.token_to_id(str(token)) is None:
                raise InputError(f"{where}: has no {str(token)!r}; add it, or name the one it has with {name}=")
        base.add_tokens(list(special.values()))
        base.post_processor = self._template(base)
        self._backend = Backend(base)

    @classmethod
    def from_pretrained(cls, folder_or_name: str | os.PathLike, **overrides: Any) -> "MobileBertTokenizer":
        """Load a tokenizer.

        Args:
            folder_or_name: a folder with ``tokenizer.json`` or ``vocab.txt`` (and ``tokenizer_config.json``,
                ``special_tokens_map.json``, ``added_tokens.json`` where there are), one such file, or a model's name
                on the hub.
            overrides: arguments of the constructor that win over the files.

        Raises:
            InputError: nothing there, broken files, or the hub cannot be reached.
        """
        path = Path(folder_or_name).expanduser()
        if path.is_file():
            settings = vocabulary.read_tokenizer_json(path) if path.suffix == ".json" else {"vocab_file": path}
        else:
            settings = vocabulary.read_folder(hub.resolve(folder_or_name, hub.TOKENIZER_FILES))
        return cls(**{**settings, **overrides})

    def save_pretrained(self, folder: str | os.PathLike, model_max_length: int | None = None) -> list[Path]:
        """Write ``tokenizer.json``, ``vocab.txt`` and ``tokenizer_config.json``, which transformers 4 and 5 load too.

        Args:
            folder: made where it is missing.
            model_max_length: instead of the tokenizer's own: the tokens that the model beside it reads. Other people's
                pipelines cut texts there.

        Returns:
            The files written.

        Raises:
            InputError: the folder cannot be made or written.
        """
        folder = Path(folder)
        base = self._backend.base
        added = base.get_added_tokens_decoder()
        config = {
            "added_tokens_decoder": {
                str(index): vocabulary.token_fields(token) for index, token in sorted(added.items())
            },
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "do_lower_case": self.do_lower_case,
            "model_max_length": self.model_max_length if model_max_length is None else model_max_length,
            "padding_side": self.padding_side,
            "split_special_tokens": self.split_special_tokens,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "tokenizer_class": "MobileBertTokenizer",
            "truncation_side": self.truncation_side,
            **self.special_tokens_map,
        }
        if self.extra_special_tokens:
            # The name of transformers 4, which 5 reads too; 4 fails at a list under the new name, even an empty one.
            config["additional_special_tokens"] = self.extra_special_tokens
        vocab = base.get_vocab(with_added_tokens=False)
        contents = {
            "vocab.txt": "".join(f"{token}\n" for token in sorted(vocab, key=vocab.__getitem__)),
            "tokenizer.json": base.to_str(pretty=True),
            "tokenizer_config.json": json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        }
        try:
            with digests.recorded(folder, *contents):
                for name, content in contents.items():
                    write_text(folder / name, content)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
        return [folder / name for name in contents]

    # -- encoding

    def __call__(
        self,
        text: Text | Sequence[Text],
        text_pair: Text | Sequence[Text] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        doc_stride: int | None = None,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Encode one text, one pair, or a batch of either.

        Args:
            text: a text or a batch of texts; with ``is_split_into_words`` a list of words or a batch of those.
            text_pair: the second text or texts. An empty one beside a single text counts as none (transformers' rule).
            add_special_tokens: ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]``.
            padding: False; True or ``"longest"``: to the longest row; ``"max_length"``.
            truncation: False; True or ``"longest_first"``; ``"only_first"``; ``"only_second"``. None truncates
                longest-first where ``max_length`` is given and ``padding`` is False.
            max_length: tokens a row, special tokens included; ``model_max_length`` where None.
            stride: tokens that neighbouring windows share (Hugging Face's meaning).
            doc_stride: tokens from the start of a window to the start of the next (Google's and Paddle's meaning),
                at most the room that the other text leaves. Excludes ``stride``.
            is_split_into_words: the texts are lists of words.
            pad_to_multiple_of: round the padded length up.
            padding_side: instead of the tokenizer's.
            return_tensors: None for lists, ``"np"`` or ``"pd"`` for int64 arrays or Paddle tensors.
            return_token_type_ids, return_attention_mask, return_special_tokens_mask: [rows, tokens].
            return_overflowing_tokens: return every window of a truncated text as a row, and
                ``overflow_to_sample_mapping``, each row's text.
            return_offsets_mapping: ``offset_mapping`` [rows, tokens, 2], characters in the original text.
            return_length: ``length`` [rows], in tokens.

        Raises:
            InputError: an argument outside its range, a text that is not a string, texts that cannot be shortened to
                ``max_length``, or rows of different lengths where tensors are asked.
        """
        inputs, is_batch = as_inputs(text, text_pair, is_split_into_words)
        has_limit = max_length is None and self.model_max_length < UNLIMITED
        limit = self.model_max_length if has_limit else max_length
        if truncation is None:
            truncation = max_length is not None and padding is False
        shorten = choose_truncation(truncation, limit, stride, doc_stride, self.truncation_side)
        side = self.padding_side if padding_side is None else padding_side
        fill = choose_padding(padding, limit, pad_to_multiple_of, side, self.pad_token_id, self.pad_token, shorten)
        encodings = self._backend.encode(inputs, shorten, fill, add_special_tokens, is_split_into_words)
        rows, samples = encodings, list(range(len(encodings)))
        if return_overflowing_tokens:
            windows = [(index, row) for index, one in enumerate(encodings) for row in (one, *one.overflowing)]
            samples, rows = [index for index, _ in windows], [row for _, row in windows]

        data: dict[str, Any] = {"input_ids": [row.ids for row in rows]}
        if return_token_type_ids:
            data["token_type_ids"] = [row.type_ids for row in rows]
        if return_attention_mask:
            data["attention_mask"] = [row.attention_mask for row in rows]
        if return_special_tokens_mask:
            data["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if return_offsets_mapping:
            data["offset_mapping"] = [row.offsets for row in rows]
        if return_length:
            data["length"] = [len(row) for row in rows]
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = samples
        if return_tensors is not None:
            data = {key: _as_tensor(key, value, return_tensors) for key, value in data.items()}
        elif not is_batch and not return_overflowing_tokens:
            # transformers leaves a single text's length a list of one; so do we.
            data = {key: value[0] if isinstance(value[0], list) else value for key, value in data.items()}
        return BatchEncoding(data, rows)

    def encode_windows(
        self,
        texts: Sequence[Text],
        pairs: Sequence[Text] | None = None,
        *,
        max_length: int,
        stride: int = 0,
        doc_stride: int | None = None,
        truncation: str = "only_second",
        is_split_into_words: bool = False,
        chunk: int = 512,
    ) -> Iterator[tuple[int, Encoding]]:
        """Encode many texts into windows, without padding, in order, a few hundred texts in memory at a time.

        Each distinct text of a chunk is encoded once, on all cores (``RAYON_NUM_THREADS`` limits them). An encoding
        holds some 100 bytes a token: take what is needed and let it go.

        Args:
            texts: first texts (SQuAD: questions).
            pairs: second texts (SQuAD: contexts).
            max_length: tokens a window, special tokens included.
            stride, doc_stride, truncation, is_split_into_words: as in a call.
            chunk: texts encoded at once.

        Yields:
            The index of the text and one of its windows, all windows of a text in order.

        Raises:
            InputError: as a call; the message names the index of the text.
        """
        if pairs is not None and len(texts) != len(pairs):
            raise InputError(f"text: {len(texts)} texts but {len(pairs)} second texts; give as many of each")
        shorten = choose_truncation(truncation, max_length, stride, doc_stride, self.truncation_side)
        for start in range(0, len(texts), chunk):
            part = pairs[start : start + chunk] if pairs is not None else None
            inputs, _ = as_inputs(list(texts[start : start + chunk]), part, is_split_into_words, start)
            encodings = self._backend.encode(inputs, shorten, None, True, is_split_into_words, start)
            for index, first in enumerate(encodings, start):
                yield index, first
                for window in first.overflowing:
                    yield index, window

    def encode(self, text: Text, text_pair: Text | None = None, **options: Any) -> list[int]:
        """The ids of one text or pair; ``options`` as in a call."""
        return self(text, text_pair, **options)["input_ids"]

    def tokenize(self, text: Text, pair: Text | None = None, add_special_tokens: bool = False, **options) -> list[str]:
        """The tokens of one text or pair as strings; ``options`` as in a call."""
        return self(text, pair, add_special_tokens=add_special_tokens, **options).tokens()

    # -- decoding

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str | list[str]:
        """Turn ids back into text: a list, array or tensor of ids, or a batch of those into a list of texts.

        Lower-casing, accents and spaces that encoding removed stay removed.

        Args:
            token_ids: [tokens] or [rows, tokens], or one id.
            skip_special_tokens: leave special tokens out.
            clean_up_tokenization_spaces: also close up some spaces before punctuation and contractions; None takes
                the tokenizer's setting.
        """
        token_ids = _as_list(token_ids)
        if token_ids and isinstance(token_ids[0], list | tuple):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in token_ids]
        text = self._backend.base.decode(token_ids, skip_special_tokens=skip_special_tokens)
        clean_up = clean_up_tokenization_spaces
        return _close_up(text) if (self.clean_up_tokenization_spaces if clean_up is None else clean_up) else text

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False, **options: Any) -> list[str]:
        """``decode`` of each row, always as a list."""
        return [self.decode(_as_list(row), skip_special_tokens, **options) for row in sequences]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> str | list[str] | None:
        """Tokens of ids; one token for one id. An id outside the vocabulary gives None."""
        if isinstance(ids, int | np.integer):
            return self._backend.base.id_to_token(int(ids))
        skip = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._backend.base.id_to_token(int(index)) for index in _as_list(ids) if int(index) not in skip]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """Ids of tokens; one id for one token. A token outside the vocabulary gives the id of ``unk_token``."""
        if isinstance(tokens, str):
            index = self._backend.base.token_to_id(tokens)
            return self.unk_token_id if index is None else index
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to text: ``##`` closed up, spaces before punctuation removed."""
        return self._backend.base.decoder.decode(list(tokens))

    # -- vocabulary

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, without those added to it."""
        return self._backend.base.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self._backend.base.get_vocab_size(with_added_tokens=True)

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return self._backend.base.get_vocab(with_added_tokens=True)

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Append tokens to the vocabulary; resize the model's embeddings to ``len(tokenizer)`` afterwards.

        Args:
            new_tokens: one token or several; those already known keep their id.
            special_tokens: they are special: never lower-cased or split, left out by ``skip_special_tokens``.

        Returns:
            How many were new.
        """
        if isinstance(new_tokens, str | AddedToken):
            new_tokens = [new_tokens]
        base = self._backend.copy()
        known = len(self)
        (base.add_special_tokens if special_tokens else base.add_tokens)(list(new_tokens))
        base.post_processor = self._template(base)
        self._backend = Backend(base)  # in one step: threads that encode keep the old one to the end
        return len(self) - known

    def add_special_tokens(self, special_tokens: dict[str, Any]) -> int:
        """Set special tokens, appending those that are new.

        Args:
            special_tokens: ``{"cls_token": "[C]", ...}``; ``extra_special_tokens`` takes a list.

        Returns:
            How many were new.

        Raises:
            InputError: a name that is no special token.
        """
        tokens: list[AddedToken] = []
        for name, value in special_tokens.items():
            if name in ("extra_special_tokens", "additional_special_tokens"):
                self.extra_special_tokens = [str(token) for token in value]
                tokens += [vocabulary.as_special(token) for token in value]
            elif name in SPECIAL_NAMES:
                setattr(self, name, str(value))
                tokens.append(vocabulary.as_special(value))
            else:
                raise InputError(f"add_special_tokens: {name} is none of {', '.join(SPECIAL_NAMES)}")
        return self.add_tokens(tokens, special_tokens=True)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Name -> special token, the extra ones aside."""
        return {name: getattr(self, name) for name in SPECIAL_NAMES}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of ``all_special_tokens``."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    @property
    def unk_token_id(self) -> int:
        """The id of the token that stands for an unknown word."""
        return self._backend.base.token_to_id(self.unk_token)

    @property
    def sep_token_id(self) -> int:
        """The id of the token that ends each text."""
        return self.convert_tokens_to_ids(self.sep_token)

    @property
    def pad_token_id(self) -> int:
        """The id that fills rows up."""
        return self.convert_tokens_to_ids(self.pad_token)

    @property
    def cls_token_id(self) -> int:
        """The id of the first token of a row."""
        return self.convert_tokens_to_ids(self.cls_token)

    @property
    def mask_token_id(self) -> int:
        """The id that hides a token in masked language modelling."""
        return self.convert_tokens_to_ids(self.mask_token)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The library's tokenizer. Read it, do not change it: all threads share it."""
        return self._backend.base

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Special tokens that a call adds to one text (2) or to a pair (3)."""
        return self._backend.base.num_special_tokens_to_add(pair)

    def __repr__(self) -> str:
        return f"MobileBertTokenizer({len(self)} tokens, do_lower_case={self.do_lower_case})"

    # -- behind a call

    def _template(self, base: Tokenizer) -> processors.TemplateProcessing:
        """[CLS] A [SEP] and [CLS] A [SEP] B [SEP], token type 1 from B on."""
        cls, sep = self.cls_token, self.sep_token
        return processors.TemplateProcessing(
            single=[f"{cls}:0", "$A:0", f"{sep}:0"],
            pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
            special_tokens=[(cls, base.token_to_id(cls)), (sep, base.token_to_id(sep))],
        )


def _as_tensor(key: str, value: list, kind: str) -> Any:
    """Lists as an int64 array or Paddle tensor.

    Raises:
        InputError: rows of different lengths.
    """
    check_choice("return_tensors", kind, ("np", "pd"))
    if len({len(row) for row in value if isinstance(row, list)}) > 1:
        raise InputError(f"{key}: rows of different lengths make no tensor; give padding=True or padding='max_length'")
    array = np.asarray(value, dtype=np.int64)
    if kind == "np":
        return array
    import paddle

    return paddle.to_tensor(array)


def _as_list(ids: Any) -> list:
    """Ids as a list: of a list, array, tensor or one id."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    return [ids] if isinstance(ids, int) else list(ids)


def _close_up(text: str) -> str:
    """Remove the spaces that splitting put before punctuation and contractions.

    Source: ``clean_up_tokenization`` of transformers.
    """
    for spaced in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(spaced, spaced.strip())
    return text
