"""The files of a tokenizer: what they say, and whether it can be true.

vocab.txt                  one token a line; the line number is the id
tokenizer.json             the library's own file: vocabulary, rules and added tokens
tokenizer_config.json      settings; wins over tokenizer.json
special_tokens_map.json    special tokens ┐ older files, read where the config has no added_tokens_decoder
added_tokens.json          token -> id    ┘
"""

import os
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json, read_text

SPECIAL_NAMES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

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

    named = config
    if "added_tokens_decoder" in config:
        decoder = config["added_tokens_decoder"]
        settings["added_tokens"] = {int(index): as_token(path, token) for index, token in decoder.items()}
    else:
        named = {**config, **_read_object(folder / "special_tokens_map.json")}
        special = {_content(named[name]) for name in SPECIAL_NAMES if named.get(name)}
        older = _read_object(folder / "added_tokens.json")
        settings["added_tokens"] = {
            **{
                index: AddedToken(token, normalized=token not in special, special=token in special)
                for token, index in older.items()
            },
            **settings.get("added_tokens", {}),
        }
    for name in SPECIAL_NAMES:
        if named.get(name) is not None:
            settings[name] = as_token(path, named[name]) if isinstance(named[name], dict) else str(named[name])
    extra = named.get("extra_special_tokens") or named.get("additional_special_tokens") or []
    extra = list(extra.values()) if isinstance(extra, dict) else extra
    settings["extra_special_tokens"] = [as_token(path, token) if isinstance(token, dict) else token for token in extra]
    return settings


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
        "added_tokens": {token["id"]: as_token(path, token) for token in content.get("added_tokens") or []},
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


def as_special(token: str | AddedToken) -> AddedToken:
    """A special token: matched as written, before the text is lower-cased."""
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


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing."""
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: a JSON {type(value).__name__} where an object is expected; is it the right file?")
    return value
