"""Slices of files of any length: the same rows whatever their number, as the readers of whole files read them."""

import json
from dataclasses import replace

import pytest

from mobilebert.base.errors import InputError
from mobilebert.data import slices
from mobilebert.data.slices import cut, find, header_of, read
from mobilebert.data.tables import JsonValue, open_table


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(path, columns, size):
    """(place, cells or what is wrong) of all rows, and how many each slice has."""
    pieces = cut(path, size, columns)
    rows = [list(read(piece, columns)) for piece in pieces]
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert [piece.first for piece in pieces] == [sum(p.rows for p in pieces[:n]) for n in range(len(pieces))]
    assert [len(part) for part in rows] == [piece.rows for piece in pieces]
    return [row for part in rows for row in part], [piece.rows for piece in pieces]


CSV = [
    "text,label\nfirst,a\n\"two\nlines, one row\",b\n\n\"a \"\"quoted\"\" word\",c\nlast,d",
    "text;label\r\nfirst, with a comma;a\r\nsecond;b\r\n",
    "\ufeffsep=|\ntext|label\none|a\ntwo|b\n",
    "text\tlabel\nan \u2028 unusual line end\ta\n\u00fcber\tb\n",
]  # fmt: skip


@pytest.mark.parametrize("text", CSV)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_csv_in_slices_is_the_whole_table(tmp_path, text, size):
    path = write(tmp_path / "a.csv", text)
    table = open_table(path)
    expected = [(line, [row[0], row[1]]) for line, row in table.rows]
    found, sizes = rows_of(path, ("text", "label"), size)
    assert found == expected and len(expected) >= 2
    assert all(count == size for count in sizes[:-1])
    assert header_of(path) == table.header
    # A slice that begins elsewhere is found out by this comparison.
    second = cut(path, 1)[1]
    assert list(read(replace(second, start=0), ("text",))) != list(read(second, ("text",)))


@pytest.mark.parametrize("size", [1, 2, 100])
def test_json_lines_in_slices_are_the_whole_table(tmp_path, size):
    rows = [{"text": f"row {n} \u2028 \u00e9", "n": n, "none": None} for n in range(5)]
    path = write(tmp_path / "a.jsonl", "\ufeff\n" + "\n\n".join(map(json.dumps, rows)) + "\n")
    found, sizes = rows_of(path, ("text", "n", "none"), size)
    assert found == [(line, row) for line, row in open_table(write(tmp_path / "b.jsonl", path.read_bytes())).rows]
    assert isinstance(found[0][1][1], JsonValue) and found[0][1][2].kind == "null"
    assert sum(sizes) == 5 and header_of(path) == ("text", "n", "none")


def test_a_broken_row_is_an_error_in_its_place(tmp_path):
    lines = ['{"text": "a"}', '{"text": "b"', "[1]", '{"other": 1}', '{"text": 1, "text": 2}', b"\xff", '{"text": "g"}']
    path = write(tmp_path / "a.jsonl", b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines))
    found, _ = rows_of(path, ("text",), 3)
    said = [str(row) if isinstance(row, InputError) else row for _, row in found]
    assert said[0] == ["a"] and said[6] == ["g"]
    parts = ("broken JSON", "expected one JSON object a line", "no 'text'", "stands twice", "not UTF-8")
    for number, part in enumerate(parts, start=1):
        assert part in said[number] and f"{path}:{number + 1}" in said[number]

    path = write(tmp_path / "a.csv", 'text,label\na,1\nb\n"c"x,1\nd,1,2\ne,1\n"open, 1\n')
    found, _ = rows_of(path, ("text", "label"), 2)
    said = [str(row) if isinstance(row, InputError) else row for _, row in found]
    assert said[0] == ["a", "1"] and said[4] == ["e", "1"] and len(said) == 6
    for number, part in ((1, "1 columns"), (2, "broken CSV"), (3, "3 columns"), (5, "left open")):
        assert part in said[number]


def test_a_row_that_is_too_large_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(slices, "_LONGEST_LINE", 40)
    for name, first, last in (("a.jsonl", '{"text": "a"}', '{"text": "c"}'), ("a.csv", "text\na", "c")):
        path = write(tmp_path / name, f"{first}\n" + 100 * "b" + f"\n{last}\n")
        found, _ = rows_of(path, ("text",), 1)
        assert [found[0][1], found[2][1]] == [["a"], ["c"]] and "too large" in str(found[1][1])


def test_slices_of_text_end_at_a_number_of_bytes(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", 10 * ('{"text": "' + 20 * "a" + '"}\n'))
    assert [piece.rows for piece in cut(path, 100)] == [10]
    monkeypatch.setattr(slices, "_MOST_BYTES", 60)
    found, sizes = rows_of(path, ("text",), 100)
    assert sizes == [2, 2, 2, 2, 2] and len(found) == 10


def test_a_file_that_lost_rows_is_noticed(tmp_path):
    path = write(tmp_path / "a.jsonl", 5 * '{"text": "a"}\n')
    (piece,) = cut(path, 10)
    write(path, 4 * '{"text": "a"}\n')
    with pytest.raises(InputError, match="fewer rows than before"):
        list(read(piece, ("text",)))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "x", "cannot tell the format"),
        ("a.csv.gz", "x", "compressed text"),
        ("a.csv", "", "expected a header line"),
        ("a.csv", "other\nx\n", "no column 'text'; the file has other"),
        ("a.csv", "text,text\nx,y\n", "2 columns are called"),
        ("a.jsonl", None, "no such file"),
    ],
)
def test_a_file_that_cannot_be_cut_is_refused(tmp_path, name, text, said):
    path = tmp_path / name
    if text is not None:
        write(path, text)
    with pytest.raises(InputError, match=said):
        cut(path, 10, ("text",))


def test_files_are_found_by_folder_pattern_and_name(tmp_path):
    for name in ("b.csv", "a.jsonl", "deep/c.csv", "_old/d.csv", ".e.csv", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "text\n")
    assert list(find(str(tmp_path))) == ["a.jsonl", "b.csv", "deep/c.csv"]
    assert list(find(f"{tmp_path}/*.csv")) == ["b.csv"]
    assert find(f"{tmp_path}/**/*.csv") == {"b.csv": tmp_path / "b.csv", "deep/c.csv": tmp_path / "deep/c.csv"}
    assert list(find(str(tmp_path / "_old" / "d.csv"))) == ["d.csv"]
    assert list(find(str(tmp_path), tmp_path / "deep")) == ["a.jsonl", "b.csv"]
    assert list(find(str(tmp_path / "b.csv"), tmp_path)) == ["b.csv"]  # whoever names a file means it
    for pattern, said in ((f"{tmp_path}/*.parquet", "no file there"), ("s3://bucket/x", "only paths are read")):
        with pytest.raises(InputError, match=said):
            find(pattern)
