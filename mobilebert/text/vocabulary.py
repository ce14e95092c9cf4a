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
from typing import Any

from tokenizers import AddedToken, Tokenizer

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json, read_text

SPECIAL_NAMES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA_NAMES = ("extra_special_tokens", "additional_special_tokens")  # of transformers 5 and 4

_SETTINGS = {
    "do_lower_case": bool,
    "strip_accents": bool | None,
    "tokenize_chinese_chars": bool,
    "model_max_length": int | float | None,
    "padding_side": str,
    "truncation_side": str,
    "split_special_tokens": bool,
    "clean_up_tokenization_spaces": bool,
}


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
    if (folder / "tokenizer.json").is_file():
        settings = read_tokenizer_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        settings = {"vocab_file": folder / "vocab.txt"}
    else:
        raise InputError(f"{folder}: has neither tokenizer.json nor vocab.txt; copy the model's vocab.txt there")

    path = folder / "tokenizer_config.json"
    config = _read_object(path)
    for key, kinds in _SETTINGS.items():
        if key in config:
            if not isinstance(config[key], kinds):
                raise InputError(f"{path}: {key}={config[key]!r} is no {kinds}; correct it or remove the line")
            settings[key] = config[key]

    return {**settings, **_read_special_tokens(folder, config, settings.get("added_tokens", {}))}


def _read_special_tokens(folder: Path, config: dict[str, Any], declared: dict[int, AddedToken]) -> dict[str, Any]:
    """The added and special tokens of a folder, for ``MobileBertTokenizer``.

    A token that ``added_tokens_decoder`` or ``tokenizer.json`` declares is as it is declared there; the other files
    only say what it is for. ``added_tokens.json`` says nothing but an id.

    Args:
        folder: the tokenizer's.
        config: its ``tokenizer_config.json``.
        declared: what its ``tokenizer.json`` declares.
    """
    path, older_path = folder / "tokenizer_config.json", folder / "special_tokens_map.json"
    older: dict[str, Any] = {}
    bare: dict[str, int] = {}
    if "added_tokens_decoder" in config:
        decoder = _as_object(path, config["added_tokens_decoder"])
        declared = {_index(path, index): as_token(path, token) for index, token in decoder.items()}
    else:
        older, added_path = _read_object(older_path), folder / "added_tokens.json"
        bare = {token: _index(added_path, index) for token, index in _read_object(added_path).items()}
    named = {
        name: _special_token(place, name, content[name])
        for place, content in ((path, config), (older_path, older))
        for name in SPECIAL_NAMES
        if content.get(name) is not None
    }
    extra = _extra_tokens(path, config, *_EXTRA_NAMES)
    contents = [str(token) for token in extra]
    further = [token for token in _extra_tokens(older_path, older, _EXTRA_NAMES[0]) if str(token) not in contents]
    # transformers looks for the older files' tokens among these, and takes one it does not find for a word: it is
    # matched in the lower-cased text too. It learns later of tokens that have names, and of the next line's.
    has_names = isinstance(config.get(_EXTRA_NAMES[0]), dict)
    special = {str(token) for token in (*named.values(), *(() if has_names else extra), *further)}
    extra = extra + further or _extra_tokens(older_path, older, _EXTRA_NAMES[1])
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
    content = _read_object(path)
    model = content.get("model") or {}
    rules = content.get("normalizer") or {}
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
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        raise InputError(f"{path}: has no model.vocab; is the file complete?")
    return {
        "vocab": vocab,
        "do_lower_case": rules.get("lowercase", True),
        "strip_accents": rules.get("strip_accents"),
        "tokenize_chinese_chars": rules.get("handle_chinese_chars", True),
        "unk_token": model.get("unk_token", "[UNK]"),
        "added_tokens": {
            _index(path, token.get("id")): as_token(path, token) for token in content.get("added_tokens") or []
        },
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


def as_token(path: Path, fields: Any) -> AddedToken:
    """An added token as JSON files write it.

    Raises:
        InputError: it has no content.
    """
    try:
        known = {key: bool(fields.get(key, False)) for key in ("single_word", "lstrip", "rstrip", "special")}
        return AddedToken(fields["content"], normalized=bool(fields.get("normalized", not known["special"])), **known)
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{path}: added token {fields!r} has no content; expected {{'content': ...}}") from None


def token_fields(token: AddedToken) -> dict[str, Any]:
    """An added token as JSON files write it."""
    return {
        "content": token.content,
        "lstrip": token.lstrip,
        "normalized": token.normalized,
        "rstrip": token.rstrip,
        "single_word": token.single_word,
        "special": token.special,
    }


def _special_token(path: Path, name: str, value: Any) -> str | AddedToken:
    """A special token as JSON files write it: its text, or an object."""
    if isinstance(value, dict):
        return as_token(path, {**value, "special": True})
    if not isinstance(value, str):
        raise InputError(
            f"{path}: {name} has {value!r} where a token's text is expected; correct it or remove the line"
        )
    return value


def _extra_tokens(path: Path, content: dict[str, Any], *names: str) -> list[str | AddedToken]:
    """The extra special tokens under the first of ``names`` that has any; an object's values are the tokens."""
    name = next((name for name in names if content.get(name)), None)
    if name is None:
        return []
    tokens = content[name]
    if not isinstance(tokens, list | dict):
        raise InputError(f"{path}: {name}={tokens!r}: expected a list of tokens")
    return [_special_token(path, name, token) for token in (tokens.values() if isinstance(tokens, dict) else tokens)]


def _index(path: Path, value: Any) -> int:
    """A token's id, which JSON's keys have as text."""
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError(f"{path}: {value!r} where the id of an added token is expected; correct it") from None


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing."""
    if not path.is_file():
        return {}
    return _as_object(path, read_json(path))


def _as_object(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: a JSON {type(value).__name__} where an object is expected; is it the right file?")
    return value
