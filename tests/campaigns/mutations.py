"""Seeded damage to a file: what a disk, a bad copy, an editor or an attacker makes of it.

Text and binary alike are bytes here. JSON, lines of JSON and safetensors headers are also changed as what they are: a
value, a key, a level. What JSON libraries cannot write (``1e400``, nesting without end) is put in as text.
"""

import json
import random
from collections.abc import Callable

Damage = Callable[[bytes, random.Random], bytes]

# In place of a value, as text.
_ABSURDITIES = (
    *("null", "true", "false", "0", "1", "-1", "3.5", '""', '"x"', "[]", "{}", '"1"', "[null]", '[1, "a"]', '{"a": 1}'),
    *("NaN", "Infinity", "-Infinity", "1e308", "1e400", "-1e400", "1e-400", "1e30", "100000000000000000000"),
    *("2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1000000000", "10000000"),
    *("1" * 299, "1" * 310, "1" * 5000, "-" + "9" * 5000, '"' + "9" * 400 + '"', '"' + "long " * 4000 + '"'),
    *('"\\ud800"', '"\\u0000"', '"\\u001b[31m"', '"../../etc/passwd"', '"/dev/zero"', '"a\\nb"', '"\\u202e"', '"**"'),
    *("[" * 90 + "]" * 90, "[" * 990 + "]" * 990, "[" * 5000 + "]" * 5000, "[" * 200_000),
    *('{"a":' * 3000 + "1" + "}" * 3000, "[" + "0," * 20_000 + "0]"),
    *("{" + ",".join(f'"{i}": {i}' for i in range(5000)) + "}",),
)  # fmt: skip
_MARK = "@@damaged@@"


def flip_bits(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16, 64)) if raw else 0):
        # Half of them near the beginning, where headers are.
        at = rng.randrange(min(len(raw), 512) if rng.random() < 0.5 else len(raw))
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.choice((0, 1, 7, 8, 9, len(raw) - 1, rng.randrange(len(raw) + 1), rng.randrange(len(raw) + 1)))]


def insert_bytes(raw: bytes, rng: random.Random) -> bytes:
    at, count = rng.randrange(len(raw) + 1), rng.choice((1, 1, 2, 8, 64, 1000))
    kind = rng.randrange(4)
    new = (rng.randbytes(count), b"\0" * count, b"\xff" * count, rng.choice((b"\n", b'"', b"{", b"]", b"\t")) * count)
    return raw[:at] + new[kind] + raw[at:]


def cut_out(raw: bytes, rng: random.Random) -> bytes:
    low, high = sorted(rng.randrange(len(raw) + 1) for _ in range(2))
    return raw[:low] + raw[min(high, low + rng.choice((1, 4, 100, len(raw)))) :]


def overwrite(raw: bytes, rng: random.Random) -> bytes:
    at, count = rng.randrange(len(raw) + 1), rng.choice((1, 8, 512, 4096))
    return raw[:at] + rng.choice((b"\0", b"\xff", b"1", b" ")) * len(raw[at : at + count]) + raw[at + count :]


def change_lines(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        lines.insert(at, lines[other])
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
    elif kind == 4:
        lines[at] = rng.choice((b"", b" ", b"null", b"[]", b"\xff\xfe", b"\0", b"x" * 100_000, b'"' * 3, b"\r"))
    else:
        lines = [line + b"\r" for line in lines]
    return b"\n".join(lines)


def replace_whole(raw: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (b"", b"{}", b"[]", b"null", b"\n", b"\xef\xbb\xbf", b"PK\x03\x04", b"\x1f\x8b", b"\x80\x04.")
    ) + (rng.choice((b"", b"", raw)))


def change_json(raw: bytes, rng: random.Random) -> bytes:
    """Change one value, key or level of a JSON text; another damage where it is none."""
    try:
        content = json.loads(raw)
    except ValueError:
        return flip_bits(raw, rng)
    places = _places(content)
    if not places or rng.random() < 0.03:
        return rng.choice(_ABSURDITIES).encode()
    # Small objects are as likely as the one with 30,000 words in it.
    parent = rng.choice(list({id(parent): parent for parent, _ in places}.values()))
    key = rng.choice([key for holder, key in places if holder is parent])
    kind = rng.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[_MARK] = parent[key]  # and renamed to the same key below: it stands twice
        return json.dumps(content).replace(json.dumps(_MARK), json.dumps(key)).encode()
    elif kind == 2 and isinstance(parent, dict):
        parent[rng.choice(("", "x", key + "x", "**", "a/../b", "1" * 30))] = parent.pop(key)
    elif kind == 3:
        _, other = rng.choice(places), rng.choice(places)
        parent[key] = json.loads(json.dumps(other[0][other[1]]))
    else:
        parent[key] = _MARK
        return json.dumps(content).replace(json.dumps(_MARK), rng.choice(_ABSURDITIES)).encode()
    return json.dumps(content).encode()


def change_json_line(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = change_json(lines[at], rng)
    return b"\n".join(lines)


def change_safetensors(raw: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file: its length, or what it says."""
    size = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + size]
    if rng.random() < 0.2:
        wrong = rng.choice((0, 1, size - 1, size + 1, len(raw), 2**31, 2**63, 2**64 - 1, 100_000_001))
        return wrong.to_bytes(8, "little") + raw[8:]
    header = change_json(header, rng)
    return len(header).to_bytes(8, "little") + header + raw[8 + size :]


def _places(content: object) -> list[tuple[dict | list, str | int]]:
    """All that a value holds, as (what holds it, under which key or number)."""
    found: list[tuple[dict | list, str | int]] = []
    waiting = [content]
    while waiting:
        parent = waiting.pop()
        keys = list(parent) if isinstance(parent, dict) else range(len(parent)) if isinstance(parent, list) else ()
        found += [(parent, key) for key in keys]
        waiting += [parent[key] for key in keys]
    return found


ANY: tuple[Damage, ...] = (flip_bits, truncate, insert_bytes, cut_out, overwrite, replace_whole)
LINES: tuple[Damage, ...] = (*ANY, change_lines, change_lines)
JSON: tuple[Damage, ...] = (*ANY, *[change_json] * 12)
JSON_LINES: tuple[Damage, ...] = (*LINES, *[change_json_line] * 12)
SAFETENSORS: tuple[Damage, ...] = (*ANY, *[change_safetensors] * 8)


def damage_for(name: str) -> tuple[Damage, ...]:
    """The damages of a file, by its name."""
    endings = {
        ".safetensors": SAFETENSORS,
        ".jsonl": JSON_LINES,
        ".json": JSON,
        ".tsv": LINES,
        ".csv": LINES,
        ".txt": LINES,
    }
    return next((damages for ending, damages in endings.items() if name.endswith(ending)), ANY)
