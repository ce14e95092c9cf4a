"""The files of a tokenizer: what they say, and whether it can be true.

vocab.txt                  one token a line; the line number is the id
tokenizer.json             the library's own file: vocabulary, rules and added tokens
tokenizer_config.json      settings; wins over tokenizer.json
special_tokens_map.json    special tokens ┐ older files, read where the config has no added_tokens_decoder
added_tokens.json          token -> id    ┘
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

from msgspec import Meta
from tokenizers import AddedToken, Tokenizer

from mobilebert.base import digests, hub
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text
from mobilebert.base.records import as_record, read_record

SPECIAL_NAMES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA_NAMES = ("extra_special_tokens", "additional_special_tokens")  # of transformers 5 and 4

_ADVICE = "correct it or remove the line"
_DAMAGED = "is the file complete?"


class _Content(TypedDict):
    """What an added token must have."""

    content: str


class TokenFields(_Content, total=False):
    """An added token as JSON files write it."""

    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool


class _NumberedToken(TokenFields):
    """An added token of ``tokenizer.json``."""

    id: int


Token = str | TokenFields


class _Settings(TypedDict, total=False):
    """The settings in ``tokenizer_config.json``, as ``MobileBertTokenizer`` calls them."""

    do_lower_case: bool
    strip_accents: bool | None
    tokenize_chinese_chars: bool
    model_max_length: Annotated[float, Meta(ge=1, le=1e100)] | None
    padding_side: str
    truncation_side: str
    split_special_tokens: bool
    clean_up_tokenization_spaces: bool


class _SpecialTokens(TypedDict, total=False):
    """Special tokens, in ``tokenizer_config.json`` and ``special_tokens_map.json``."""

    unk_token: Token | None
    sep_token: Token | None
    pad_token: Token | None
    cls_token: Token | None
    mask_token: Token | None
    extra_special_tokens: list[Token] | dict[str, Token] | None
    additional_special_tokens: list[Token] | dict[str, Token] | None


class _Config(_SpecialTokens, total=False):
    """What else is read of ``tokenizer_config.json``."""

    added_tokens_decoder: dict[str, TokenFields]


class _Model(TypedDict, total=False):
    """``model`` of ``tokenizer.json``."""

    type: str
    continuing_subword_prefix: str | None
    max_input_chars_per_word: int
    unk_token: str | None
    vocab: Any


class _Normalizer(TypedDict, total=False):
    """``normalizer`` of ``tokenizer.json``."""

    type: str
    clean_text: bool
    lowercase: bool
    strip_accents: bool | None
    handle_chinese_chars: bool


class _PreTokenizer(TypedDict, total=False):
    """``pre_tokenizer`` of ``tokenizer.json``."""

    type: str


class _Tokenizer(TypedDict, total=False):
    """What is read of ``tokenizer.json``."""

    model: _Model | None
    normalizer: _Normalizer | None
    pre_tokenizer: _PreTokenizer | None
    added_tokens: list[_NumberedToken] | None


def read_vocab(path: str | os.PathLike) -> dict[str, int]:
    """Read ``vocab.txt``.

    Raises:
        InputError: missing, not UTF-8, empty, or a line that is empty or there twice.
    """
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    if not any(lines):
        raise InputError(f"{path}: empty; a vocabulary has one token a line")
    vocab: dict[str, int] = {}
    for index, line in enumerate(lines):
        token = line.rstrip()  # as the library's own reader does
        if not line:
            raise InputError(f"{path}: line {index + 1} is empty; is the file complete? each line is a token")
        if token in vocab:
            raise InputError(
                f"{path}: {token!r} is on line {vocab[token] + 1} and on line {index + 1}; a token has one id"
            )
        vocab[token] = index
    return vocab


def check_vocab(vocab: dict[str, int], where: str) -> None:
    """Check that a vocabulary has ids 0 to n-1, each once.

    Raises:
        InputError: it has not; the message begins with ``where``.
    """
    if not vocab:
        raise InputError(f"{where}: empty vocabulary; give token -> id")
    tokens: dict[int, str] = {}
    for token, index in vocab.items():
        if not isinstance(index, int) or not 0 <= index < len(vocab):
            raise InputError(f"{where}: {token!r} has id {index!r}; {len(vocab)} tokens have ids 0 to {len(vocab) - 1}")
        if index in tokens:
            raise InputError(f"{where}: {tokens[index]!r} and {token!r} both have id {index}; an id is one token's")
        tokens[index] = token


def read_folder(folder: Path) -> dict[str, Any]:
    """Read a tokenizer's folder.

    Returns:
        Arguments for ``MobileBertTokenizer``.

    Raises:
        InputError: neither ``tokenizer.json`` nor ``vocab.txt``, or a broken file.

    Source: the order of precedence is that of transformers 5.23 ``PreTrainedTokenizerBase._from_pretrained``, but
    for one: where ``tokenizer_config.json`` is silent on lower-casing, accents or CJK, ``tokenizer.json``
    speaks; transformers then takes the class's defaults and lower-cases a cased model.
    """
    digests.check(folder, *hub.TOKENIZER_FILES)
    if (folder / "tokenizer.json").is_file():
        settings = read_tokenizer_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        settings = {"vocab_file": folder / "vocab.txt"}
    else:
        raise InputError(f"{folder}: has neither tokenizer.json nor vocab.txt; copy the model's vocab.txt there")

    path = folder / "tokenizer_config.json"
    content = read_record(path, dict[str, Any]) if path.is_file() else {}
    settings |= as_record(content, _Settings, path, _ADVICE)
    config = as_record(content, _Config, path, _ADVICE)
    return {**settings, **_read_special_tokens(folder, config, settings.get("added_tokens", {}))}


def _read_special_tokens(folder: Path, config: _Config, declared: dict[int, AddedToken]) -> dict[str, Any]:
    """The added and special tokens of a folder, for ``MobileBertTokenizer``.

    A token that ``added_tokens_decoder`` or ``tokenizer.json`` declares is as it is declared there; the other files
    only say what it is for. ``added_tokens.json`` says nothing but an id.

    Args:
        folder: the tokenizer's.
        config: its ``tokenizer_config.json``.
        declared: what its ``tokenizer.json`` declares.
    """
    path, older_path = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    older: _SpecialTokens = {}
    bare: dict[str, int] = {}
    if "added_tokens_decoder" in config:
        declared = {_index(path, index): as_token(fields) for index, fields in config["added_tokens_decoder"].items()}
    else:
        added_path = folder / "added_tokens.json"
        older = read_record(older_path, _SpecialTokens, _ADVICE) if older_path.is_file() else {}
        bare = read_record(added_path, dict[str, int], _ADVICE) if added_path.is_file() else {}
    named = {
        name: _special_token(token)
        for content in (config, older)
        for name in SPECIAL_NAMES
        if (token := cast(Token | None, content.get(name))) is not None
    }
    extra = _extra_tokens(config, *_EXTRA_NAMES)
    contents = [str(token) for token in extra]
    further = [token for token in _extra_tokens(older, _EXTRA_NAMES[0]) if str(token) not in contents]
    # transformers looks for the older files' tokens among these, and takes one it does not find for a word: it is
    # matched in the lower-cased text too. It learns later of tokens that have names, and of the next line's.
    has_names = isinstance(config.get(_EXTRA_NAMES[0]), dict)
    special = {str(token) for token in (*named.values(), *(() if has_names else extra), *further)}
    extra = extra + further or _extra_tokens(older, _EXTRA_NAMES[1])
    added = {
        index: AddedToken(token, normalized=token not in special, special=token in special)
        for token, index in bare.items()
    }
    known = {str(token) for token in declared.values()}
    return {
        "added_tokens": {**added, **declared},
        "extra_special_tokens": [str(token) if str(token) in known else token for token in extra],
        **{name: str(token) if str(token) in known else token for name, token in named.items()},
    }


def read_tokenizer_json(path: Path) -> dict[str, Any]:
    """Read ``tokenizer.json``.

    Returns:
        Arguments for ``MobileBertTokenizer``.

    Raises:
        InputError: broken, or not BERT's way of splitting text.
    """
    content = read_record(path, _Tokenizer, _DAMAGED)
    model: _Model = content.get("model") or {}
    rules: _Normalizer = content.get("normalizer") or {}
    found = {
        "model.type": model.get("type", "WordPiece"),
        "model.continuing_subword_prefix": model.get("continuing_subword_prefix", "##"),
        "model.max_input_chars_per_word": model.get("max_input_chars_per_word", 100),
        "normalizer.type": rules.get("type"),
        "normalizer.clean_text": rules.get("clean_text", True),
        "pre_tokenizer.type": (content.get("pre_tokenizer") or {}).get("type"),
    }
    expected = dict(zip(found, ("WordPiece", "##", 100, "BertNormalizer", True, "BertPreTokenizer"), strict=True))
    for name, value in found.items():
        if value != expected[name]:
            raise InputError(
                f"{path}: {name} is {value!r}, BERT's is {expected[name]!r}; give the tokenizer of a MobileBERT model"
            )
    return {
        "vocab": as_record(model.get("vocab"), dict[str, int], f"{path}: model.vocab", _DAMAGED),
        "do_lower_case": rules.get("lowercase", True),
        "strip_accents": rules.get("strip_accents"),
        "tokenize_chinese_chars": rules.get("handle_chinese_chars", True),
        "unk_token": model.get("unk_token") or "[UNK]",
        "added_tokens": {token["id"]: as_token(token) for token in content.get("added_tokens") or []},
    }


def add_declared(tokenizer: Tokenizer, tokens: dict[int, AddedToken], where: str) -> None:
    """Add tokens that were saved with their ids.

    Raises:
        InputError: a token whose id neither is the vocabulary's nor follows it without a gap.
    """
    for index, token in sorted(tokens.items()):
        tokenizer.add_tokens([token])
        if (got := tokenizer.token_to_id(str(token))) != index:
            raise InputError(
                f"{where}: added token {str(token)!r} has id {index}, but the vocabulary makes it {got}; "
                "are the files of one tokenizer?"
            )


def special_tokens(tokens: Iterable[str | AddedToken], declared: Mapping[int, AddedToken]) -> dict[str, AddedToken]:
    """Special tokens by their text; one that is given as a text is as it is declared, where it is.

    Args:
        tokens: in order, which is that of the ids of new ones.
        declared: id -> token.
    """
    known = {str(token): token for token in declared.values()}
    return {str(token): as_special(known.get(token, token) if isinstance(token, str) else token) for token in tokens}


def as_special(token: str | AddedToken) -> AddedToken:
    """A special token; one given as a text is matched as written, before the text is lower-cased."""
    if isinstance(token, AddedToken):
        return AddedToken(
            str(token),
            single_word=token.single_word,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            normalized=token.normalized,
            special=True,
        )
    return AddedToken(token, normalized=False, special=True)


def as_token(fields: TokenFields) -> AddedToken:
    """An added token from how JSON files write it."""
    special = fields.get("special", False)
    return AddedToken(
        fields["content"],
        single_word=fields.get("single_word", False),
        lstrip=fields.get("lstrip", False),
        rstrip=fields.get("rstrip", False),
        normalized=fields.get("normalized", not special),
        special=special,
    )


def token_fields(token: AddedToken) -> TokenFields:
    """An added token as JSON files write it."""
    return {
        "content": token.content,
        "lstrip": token.lstrip,
        "normalized": token.normalized,
        "rstrip": token.rstrip,
        "single_word": token.single_word,
        "special": token.special,
    }


def _special_token(token: Token) -> str | AddedToken:
    return token if isinstance(token, str) else as_token({**token, "special": True})


def _extra_tokens(content: _SpecialTokens, *names: str) -> list[str | AddedToken]:
    """The extra special tokens under the first of ``names`` that has any; an object's values are the tokens."""
    values = [cast(list[Token] | dict[str, Token] | None, content.get(name)) for name in names]
    found = next((tokens for tokens in values if tokens), [])
    return [_special_token(token) for token in (found.values() if isinstance(found, dict) else found)]


def _index(path: Path, value: str) -> int:
    """A token's id, which JSON's keys have as text."""
    try:
        return int(value)
    except ValueError:
        raise InputError(f"{path}: {value!r} where the id of an added token is expected; correct it") from None
