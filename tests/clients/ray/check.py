"""mobilebert bulk with Ray itself: on this machine, on three machines of which one dies, through ray://, after kill -9.

The machines are three Ray nodes here, each with a core of its own; they end with this process.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(Path(__file__).parents[1]))
# Before Ray is imported: nothing is reported, all servers listen on 127.0.0.1, and nothing asks for a password.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}

import common  # noqa: E402
import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

TIMES = 10  # the reference's rows are repeated so often where a run is to be caught in the middle
BLOCK = 50
STORE = 80 << 20
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')


def command(work: Path, rows: Path | str, output: Path, *words: object) -> list[str]:
    start = [sys.executable, "-m", "mobilebert", "bulk", "qa", "--model", work / "exports" / "reader-onnx"]
    return [*map(str, [*start, "--input", rows, "--output", output, "--id", "id", "--top_k", 1, *words])]


def call(words: list[str], **settings: str) -> str:
    """Run a command that must end well. -> what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    # A run on this machine alone has a password of its own.
    environment.pop("RAY_AUTH_MODE" if "--address" not in words else "", None)
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
    sys.stderr.write(done.stderr)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def start(words: list[str]) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_AUTH_MODE" if "--address" not in words else "", None)
    return subprocess.Popen(words, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)


def wait_for_blocks(output: Path, count: int, run: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while len(list(output.glob("*.jsonl"))) < count:
        assert run.poll() is None, "the run ended before it could be caught in the middle"
        assert time.monotonic() < end, "no block was finished in time"
        time.sleep(0.05)


def results(output: Path) -> list[dict]:
    if files := sorted(output.glob("*.parquet")):
        return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    return [json.loads(line) for file in sorted(output.glob("*.jsonl")) for line in file.read_text().splitlines()]


def equal(found: list[dict], rows: list[dict]) -> int:
    """How many rows have the reference's answer, in the order of the input; each must be there once."""
    assert each_once(found, rows), f"{len(found)} results for {len(rows)} rows, {len({r['id'] for r in found})} names"
    pairs = zip(found, rows, strict=True)
    return sum(
        (one["answers"][0]["text"], one["answers"][0]["start"], one["answers"][0]["end"])
        == (row["text"], row["start"], row["end"])
        for one, row in pairs
    )


def each_once(found: list[dict], rows: list[dict]) -> bool:
    return [row["id"] for row in found] == [row["id"] for row in rows]


def write(path: Path, rows: list[dict]) -> Path:
    table = [{name: row[name] for name in ("id", "question", "context")} for row in rows]
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), path, row_group_size=70)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


def on_this_machine(work: Path, place: Path, rows: list[dict]) -> int:
    """Parquet in and out; no other machine is spoken to, nothing is left behind."""
    home, temporary = place / "home", place / "tmp"
    home.mkdir()
    temporary.mkdir()
    table, output, trace = write(place / "rows.parquet", rows), place / "alone", place / "strace"
    words = command(work, table, output, "--block_rows", BLOCK, "--format", "parquet")
    if (
        shutil.which("strace")
        and not subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode
    ):
        calls = "trace=connect,sendto,sendmsg,sendmmsg"
        words = ["strace", "-f", "--seccomp-bpf", "-e", calls, "-o", str(trace), *words]
    else:
        print("strace is not here: not checked that nothing is sent", file=sys.stderr)
    said = call(words, HOME=str(home), TMPDIR=str(temporary))
    assert f"{len(rows)} rows in {-(-len(rows) // BLOCK)} blocks" in said, said
    assert not list(temporary.iterdir()), list(temporary.iterdir())
    left = [path for path in home.rglob("*") if path.is_file() and ".cache/mobilebert" not in str(path)]
    assert not left, left
    if trace.exists():
        assert "127.0.0.1" in trace.read_text(errors="replace")
        assert not outside(trace.read_text(errors="replace")), outside(trace.read_text(errors="replace"))
    # Other programs read the folder as one table.
    assert pyarrow.parquet.read_table(output).num_rows == len(rows)
    return equal(results(output), rows)


def outside(trace: str) -> list[str]:
    """The calls that went to another machine, or asked for a name."""
    calls = [(line, *found.groups()) for line in trace.splitlines() if (found := ADDRESS.search(line))]
    return [
        line for line, port, host in calls if port == "53" or not host.startswith(("127.", "::1", "::ffff:127.0.0.1"))
    ]


def on_three_machines(work: Path, place: Path, rows: list[dict]) -> int:
    """One of them dies in the middle."""
    cluster = Cluster(initialize_head=True, head_node_args=node(0))
    try:
        nodes = [cluster.add_node(**node(1)) for _ in range(3)]
        table, output = write(place / "three.jsonl", rows), place / "three"
        run = start(command(work, table, output, "--block_rows", BLOCK, "--address", cluster.address))
        wait_for_blocks(output, 10, run)
        cluster.remove_node(nodes[1], allow_graceful=False)
        before = len(list(output.glob("*.jsonl")))
        assert run.wait(600) == 0
        print(f"a machine died after {before} of {len(rows) // BLOCK} blocks", file=sys.stderr)
        assert before < len(rows) // BLOCK
        return equal(results(output), rows)
    finally:
        cluster.shutdown()


def from_afar(work: Path, place: Path, rows: list[dict]) -> int:
    """Through ray://, as from a machine that is not of the cluster."""
    port = 20000 + os.getpid() % 10000
    cluster = Cluster(initialize_head=True, head_node_args=node(1) | {"ray_client_server_port": port})
    try:
        table, output = write(place / "afar.jsonl", rows), place / "afar"
        call(command(work, table, output, "--block_rows", BLOCK, "--address", f"ray://127.0.0.1:{port}"))
        return equal(results(output), rows)
    finally:
        cluster.shutdown()


def node(cores: int) -> dict:
    return {"num_cpus": cores, "object_store_memory": STORE, "include_dashboard": False}


def after_a_kill(work: Path, place: Path, rows: list[dict]) -> int:
    """kill -9 of everything in the middle; then the same command again."""
    table, output = write(place / "killed.jsonl", rows), place / "killed"
    words = command(work, table, output, "--block_rows", BLOCK)
    run = start(words)
    wait_for_blocks(output, 5, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    time.sleep(5)  # Ray's processes end by themselves where their command is gone
    finished = {path.name: path.stat().st_mtime_ns for path in output.glob("*.jsonl")}
    assert len(finished) < len(rows) // BLOCK
    said = call(words)
    assert f"{BLOCK * len(finished)} of them were there already" in said.replace(",", ""), said
    assert all((output / name).stat().st_mtime_ns == when for name, when in finished.items())
    assert not [path for path in output.iterdir() if path.name.endswith((".tmp", ".tries", ".lock"))]
    return equal(results(output), rows)


def with_damage(work: Path, place: Path, rows: list[dict]) -> None:
    """Rows that cannot be answered are named with their reason, and the others answered."""
    table = [{name: row[name] for name in ("id", "question", "context")} for row in rows[:100]]
    table[3]["question"], table[40]["context"], table[77]["context"] = " ", None, 4_000_001 * "a"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), place / "damaged.parquet", row_group_size=30)
    page = bytearray((write(place / "torn.parquet", rows[:100])).read_bytes())
    page[200:400] = bytes(200)  # within the first group of rows
    (place / "torn.parquet").write_bytes(page)
    output = place / "damaged"
    said = call(command(work, f"{place}/*ed.parquet", output, "--block_rows", BLOCK))
    assert "3 rows have no result" in said, said
    failed = [json.loads(line) for file in sorted(output.glob("_failed/*")) for line in file.read_text().splitlines()]
    assert [row["row"] for row in failed] == [3, 40, 77], failed
    for row, reason in zip(failed, ("is empty", "is a null", "4,000,000 at most"), strict=True):
        assert reason in row["reason"], row
    good = [row for number, row in enumerate(rows[:100]) if number not in (3, 40, 77)]
    assert equal(results(output), good) == len(good)
    output = place / "torn"
    call(command(work, place / "torn.parquet", output, "--block_rows", BLOCK))
    failed = [json.loads(line) for file in sorted(output.glob("_failed/*")) for line in file.read_text().splitlines()]
    found = {row["id"] for row in results(output)}
    assert len(failed) + len(found) == 100 and failed and found, (len(failed), len(found))
    assert all("cannot be read" in row["reason"] for row in failed), failed[0]


def main() -> None:
    """Print the rows of the table."""
    work = Path(sys.argv[1]).resolve()
    rows = common.read(work, "reader")
    many = [row | {"id": f"{row['id']}/{time}"} for time in range(TIMES) for row in rows]
    assert not each_once(rows[1:], rows) and not each_once([*rows, rows[0]], rows)
    assert outside('connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, 16) = 0')
    version = metadata.version("ray")
    note = "rows a second: docs/scale.md"
    with tempfile.TemporaryDirectory(prefix="rb") as temporary:  # a short name: Ray's sockets are below it
        place = Path(temporary)
        for what, run, asked in (
            ("Parquet on this machine", on_this_machine, rows),
            ("three machines, one lost", on_three_machines, many),
            ("through ray://", from_afar, rows),
            ("run again after kill -9", after_a_kill, many),
        ):
            print(what, file=sys.stderr)
            found = run(work, place, asked)
            assert found == len(asked), f"{what}: {found} of {len(asked)} answers are the reference's"
            common.report("Ray Data", version, what, found, len(asked), ratio=None, megabytes=None, note=note)
        with_damage(work, place, rows)


if __name__ == "__main__":
    main()
