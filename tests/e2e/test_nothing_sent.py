"""Every command under strace, with a home folder of its own: no connection beyond this machine, no name looked up."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.models import save_checkpoint
from support.texts import write_long_squad, write_table

ROOT = Path(__file__).parents[2]
# Nothing that would keep a library from reporting.
KEPT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "XDG_CACHE_HOME")
CALLS = "connect,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')

# The commands in argv, as the scripts run them, in one process that pays for the imports once.
ALL = """
import importlib, json, os, sys
from mobilebert.base import cli
for script, *words in json.loads(sys.argv[1]):
    sys.argv = [f"{script}.py", *words]
    try:
        cli.run(importlib.import_module(script).main)
    except SystemExit as end:
        if end.code not in (0, 1):  # 1: a comparison found differences, as it does in a vocabulary as small as here
            sys.exit(f"{script} {words}: exit {end.code}")
    print("ended:", script, flush=True)
"""
# The demo: starts, answers this machine, and is stopped.
DEMO = """
import re, signal, subprocess, sys, urllib.request
command = [sys.executable, "-m", "mobilebert", "demo", sys.argv[1], "--port", "0"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
    address = next(found[0] for line in demo.stdout if (found := re.search(r"http://[^ ]+", line)))
    print(urllib.request.urlopen(address, timeout=60).status)
    demo.send_signal(signal.SIGTERM)
"""


def outside(trace: str) -> list[str]:
    """Of what strace wrote, the calls that went to another machine, or to a name server wherever it is."""
    calls = [line for line in trace.splitlines() if (found := ADDRESS.search(line)) and not is_here(*found.groups())]
    assert not [line for line in trace.splitlines() if "sa_family=AF_INET" in line and not ADDRESS.search(line)]
    return calls


def is_here(port: str, host: str) -> bool:
    return port != "53" and (host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1"))


def traced(code: str, *words, home: Path) -> tuple[str, str]:
    """Run Python code under strace. -> what strace wrote, what the code printed."""
    home.mkdir(exist_ok=True)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "MOBILEBERT_QUIET": "1"}
    log = home / "strace"
    command = ["strace", "-f", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(log), sys.executable, "-c", code]
    done = subprocess.run([*command, *map(str, words)], env=environment, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    return log.read_text(errors="replace"), done.stdout


@pytest.fixture(scope="module", autouse=True)
def _strace():
    if shutil.which("strace") is None:
        pytest.skip("needs strace, which is not installed")
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace is installed but may not trace here")


@pytest.mark.slow
def test_no_command_connects_anywhere(tmp_path):
    qa = save_checkpoint(tmp_path / "qa", "question-answering")
    classes = save_checkpoint(tmp_path / "classes", "sequence-classification", id2label={0: "no", 1: "yes"})
    squad, table = write_long_squad(tmp_path / "squad.json"), write_table(tmp_path / "sst2.tsv")
    torch, again, out = tmp_path / "torch", tmp_path / "again", tmp_path / "out"
    reading = ("--max_seq_length", 48, "--doc_stride", 8, "--cache_dir", "")
    training = ("--do_train", "--do_eval", "--max_steps", 1, "--batch_size", 2)
    ask = ("predict", "qa", "--question", "Who wrote it ?", "--context_text", "Ada wrote it .", "--model")
    engines = ["onnxruntime", "paddle", *(["openvino"] if find_spec("openvino") else [])]
    commands = [
        ("convert", "--src", qa, "--dst", torch, "--reverse"),
        ("convert", "--src", torch, "--dst", again),
        ("compare", "--torch", torch, "--paddle", again, "--lengths", 7),
        ("compare_tokenizer", squad, "--tokenizer", qa, "--max_seq_length", 48, "--doc_stride", 8, "--limit", 4),
        ("run_squad", "--model_name_or_path", qa, "--output_dir", tmp_path / "run_qa", "--train_file", squad,
         "--dev_file", squad, *reading, *training),
        ("run_glue", "--model_name_or_path", classes, "--output_dir", tmp_path / "run_classes", "--train_file", table,
         "--dev_file", table, "--text_column", "sentence", "--label_column", "label", "--max_seq_length", 16,
         "--cache_dir", "", "--label_order", "0,1", *training),
        ("export", "--model", qa, "--out", out, "--format", "all", "--portable"),
        (*ask, qa),
        *((*ask, out, "--engine", engine) for engine in engines),
        ("mobilebert.__main__", "predict", "classify", "--model", classes, "--text", "good film"),
    ]  # fmt: skip
    words = json.dumps([list(map(str, command)) for command in commands])
    trace, printed = traced(ALL, words, home=tmp_path / "home")
    assert printed.count("ended: ") == len(commands)
    assert outside(trace) == []
    trace, _ = traced(DEMO, out, home=tmp_path / "home")
    assert outside(trace) == [] and "127.0.0.1" in trace


def test_a_connection_would_be_seen(tmp_path):
    """To an address that nobody has (RFC 5737), by UDP, for which connecting sends nothing."""
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    trace, _ = traced(code, home=tmp_path / "home")
    (call,) = outside(trace)
    assert "192.0.2.1" in call
    lines = (
        'connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0',
        'connect(3, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), '
        'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 ENETUNREACH',
    )  # fmt: skip
    assert all(outside(line) == [line] for line in lines)
    assert (
        outside('sendto(4, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}') == []
    )
    assert outside('connect(3, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = 0') == []
