"""What a run writes down: run.log for people, train.jsonl and eval.jsonl for programs, VisualDL, curves.png.

Only rank 0 has a ``RunLog`` that writes; the others' does nothing.
"""

import errno
import json
import logging
import math
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from mobilebert.base import extras, interrupt, plots
from mobilebert.base.errors import printable
from mobilebert.base.files import naming, regular, write_json, write_text
from mobilebert.base.json_decoder import JsonDecoder
from mobilebert.base.records import as_record
from mobilebert.train.graph import write_graph
from mobilebert.train.settings import RunHeader, TrainSettings

RUN_LOG, ARGUMENTS, TRAIN_LOG, EVAL_LOG, VISUALDL = "run.log", "args.json", "train.jsonl", "eval.jsonl", "logs"
CURVES = "curves.png"
NAMES = (RUN_LOG, ARGUMENTS, TRAIN_LOG, EVAL_LOG, VISUALDL, CURVES)
_VISUALDL_FILES = tuple(f"{VISUALDL}/vdl{kind}.[0-9]*.log" for kind in ("records", "graph"))
ENTRIES = (RUN_LOG, ARGUMENTS, TRAIN_LOG, EVAL_LOG, *_VISUALDL_FILES, CURVES)  # for the folder's record

_log = logging.getLogger(__name__)


class RunLog:
    """All logs of one run.

    Args:
        output_dir: where the files go.
        total_steps: of the whole run, for the progress bar.
        first_step: steps already made; records after it, left by a run that was killed, are dropped.
        evaluations: records of the evaluations already made; likewise.
        enabled: False on all ranks but 0.
    """

    def __init__(self, output_dir: Path, total_steps: int, first_step: int, evaluations: list[dict], enabled: bool):
        self.output_dir, self.enabled = output_dir, enabled
        self.bar: Any = None  # tqdm's, on a terminal
        self.visualdl: Any = None  # its LogWriter, where it is installed
        if not enabled:
            return
        output_dir.mkdir(parents=True, exist_ok=True)
        steps = [record for record in read_records(output_dir / TRAIN_LOG) if record["step"] <= first_step]
        for name, records in ((TRAIN_LOG, steps), (EVAL_LOG, evaluations)):
            write_text(output_dir / name, "".join(_line(record) for record in records))
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total_steps, initial=first_step, unit="step", dynamic_ncols=True)

    def hyper_parameters(self, settings: TrainSettings, header: RunHeader) -> None:
        """Keep the resolved arguments in ``args.json``, and begin VisualDL's log with them."""
        if not self.enabled:
            return
        write_json(self.output_dir / ARGUMENTS, {**header.arguments, **settings.as_dict()})
        self._open_visualdl({**settings.as_dict(), **header.arguments, **settings.as_dict()}, settings.best_metric)

    def _open_visualdl(self, hyper_parameters: Mapping[str, Any], best_metric: str) -> None:
        """Start VisualDL's log anew from ``train.jsonl`` and ``eval.jsonl``: it cannot be cut at a step itself.

        Args:
            hyper_parameters: shown beside the metrics; what is not a number is shown as text.
            best_metric: metric by which VisualDL compares runs; empty: by the training loss.
        """
        try:
            with extras.own_home():  # it writes there on its import
                from visualdl import LogWriter
        except ModuleNotFoundError:
            self.line(f"no curves for VisualDL: {extras.missing('visualdl')}")
            return
        for pattern in _VISUALDL_FILES:
            for earlier in self.output_dir.glob(pattern):
                earlier.unlink()
        with naming(self.output_dir / VISUALDL):
            self.visualdl = LogWriter(logdir=str(self.output_dir / VISUALDL))
        values = {
            key: value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
            for key, value in hyper_parameters.items()
        }
        self.visualdl.add_hparams(values, ["train/loss", *([f"eval/{best_metric}"] if best_metric else [])])
        for group, name in (("train", TRAIN_LOG), ("eval", EVAL_LOG)):
            for record in read_records(self.output_dir / name):
                self._scalars(group, record)

    def graph(self, model: paddle.nn.Layer, batch: Mapping[str, np.ndarray]) -> None:
        """Draw the model into VisualDL, with the shapes of ``batch``; what cannot be drawn is trained all the same."""
        if not self.enabled:
            return
        try:
            write_graph(model, batch, self.output_dir / VISUALDL)
        except Exception as error:  # whatever Paddle's tracing raises: a picture must not end a training
            self.line(f"no graph for VisualDL: {type(error).__name__}: {str(error).strip().splitlines()[-1]}")

    def line(self, text: str) -> None:
        """One line to ``run.log`` (with the time) and to the terminal."""
        if not self.enabled:
            return
        text = printable(text)
        self._write_text(text)
        with _terminal():
            if self.bar is not None:
                self.bar.write(text, file=sys.stderr)
            else:
                print(text, flush=True)

    def step(self, record: Mapping[str, Any], total_steps: int) -> None:
        """One log step: ``record`` goes to ``train.jsonl`` and VisualDL, its gist to ``run.log`` and the terminal."""
        if not self.enabled:
            return
        self._append(TRAIN_LOG, _line(record))
        self._scalars("train", record)
        loss, grad_norm = _nan(record["loss"]), _nan(record["grad_norm"])
        text = (
            f"step {record['step']}/{total_steps} epoch {record['epoch']:.2f} loss {loss:.4f} lr {record['lr']:.2e} "
            f"grad_norm {grad_norm:.3g} {record['examples_per_second']:.1f} examples/s "
            f"{record['tokens_per_second']:.0f} tokens/s {record['peak_memory_mib']} MiB "
            f"left {duration(record['seconds_left'])}"
        )
        if self.bar is None:
            self.line(text)
            return
        self._write_text(text)
        rate = f"{record['examples_per_second']:.1f}"
        with _terminal():
            self.bar.set_postfix({"loss": f"{loss:.4f}", "lr": f"{record['lr']:.2e}", "examples/s": rate})

    def advance(self) -> None:
        """Move the progress bar by one step."""
        if self.bar is not None:
            with _terminal():
                self.bar.update(1)

    def evaluation(self, record: Mapping[str, Any], is_best: bool) -> None:
        """One evaluation: ``record`` holds the step and the metrics."""
        if not self.enabled:
            return
        self._append(EVAL_LOG, _line(record))
        self._scalars("eval", record)
        metrics = " ".join(f"{key} {_short(value)}" for key, value in record.items() if key != "step")
        self.line(f"evaluation at step {record['step']}: {metrics}{' (best so far)' if is_best else ''}")

    def close(self) -> None:
        """Flush and close everything; safe to call twice."""
        if not self.enabled:
            return
        if self.bar is not None:
            self.bar.close()
        if self.visualdl is not None:
            self.visualdl.close()
        self.enabled = False

    def _write_text(self, text: str) -> None:
        self._append(RUN_LOG, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def _append(self, name: str, line: str) -> None:
        # Opened for each line: a file that is kept open would try a line that found no space again at the end.
        with naming(self.output_dir / name), open(self.output_dir / name, "a", encoding="utf-8") as handle:
            handle.write(line)

    def _scalars(self, group: str, record: Mapping[str, Any]) -> None:
        for key, value in record.items():
            if self.visualdl is not None and key != "step" and isinstance(value, (int, float)):
                self.visualdl.add_scalar(f"{group}/{key}", value, record["step"])


@contextmanager
def _terminal() -> Iterator[None]:
    """A terminal that is gone does not end a training; what is shown there is in ``run.log`` too."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        interrupt.leave_dead_terminal()


class Meter:
    """Where the time goes, and how fast the run is.

    Args:
        first_step: steps made before this process.
        seconds_before: time they took.
    """

    def __init__(self, first_step: int, seconds_before: float):
        self.first_step, self.seconds_before = first_step, seconds_before
        self.started = time.perf_counter()
        self.waited = self.stepped = 0.0  # seconds, over all steps of this process
        self._examples = self._tokens = 0  # since the last call of rates
        self._stepped_then = 0.0

    def begin_step(self) -> None:
        """The loop asks for the next batch."""
        self._begin = time.perf_counter()

    def have_batch(self) -> None:
        """The batch is there."""
        self.waited += time.perf_counter() - self._begin

    def end_step(self, examples: int, tokens: int) -> None:
        """The weights are updated; ``examples`` and ``tokens`` (without padding) are over all ranks."""
        self.stepped += time.perf_counter() - self._begin
        self._examples += examples
        self._tokens += tokens

    def rates(self) -> dict[str, float]:
        """Speed since the last call, without evaluation and saving; share of waiting over all steps."""
        seconds = max(self.stepped - self._stepped_then, 1e-9)
        rates = {
            "examples_per_second": round(self._examples / seconds, 2),
            "tokens_per_second": round(self._tokens / seconds),
        }
        self._examples, self._tokens, self._stepped_then = 0, 0, self.stepped
        return {**rates, "data_wait_share": round(self.wait_share, 4)}

    @property
    def wait_share(self) -> float:
        """Share of the time in steps that was spent waiting for a batch."""
        return self.waited / self.stepped if self.stepped else 0.0

    def seconds(self) -> float:
        """Time of the run so far, resumed ones included."""
        return self.seconds_before + time.perf_counter() - self.started

    def seconds_left(self, step: int, total_steps: int) -> float:
        """Expected time to the end, evaluation and saving included."""
        made = step - self.first_step
        return (time.perf_counter() - self.started) / made * (total_steps - step) if made else 0.0


def has_records(path: Path) -> bool:
    """Whether a ``.jsonl`` log has a whole line, damaged or not."""
    return path.exists() and b"\n" in regular(path).read_bytes()


def read_records(path: Path) -> list[dict]:
    """Records of a ``.jsonl`` log, in order; a missing file is empty.

    A last line cut short by a kill is left out, and so are damaged lines, with a warning: nothing is computed from
    a log.
    """
    if not path.exists():
        return []
    records, damaged = [], []
    keys = {"step", "loss", "lr"} if path.name == TRAIN_LOG else {"step"}
    for number, line in enumerate(regular(path).read_bytes().split(b"\n")[:-1], start=1):
        try:
            record = as_record(json.loads(line, cls=JsonDecoder), dict[str, int | float | None], path, "")
        except ValueError:
            record = {}
        # VisualDL takes steps of 64 bits.
        if keys <= record.keys() and isinstance(record["step"], int) and 0 <= record["step"] < 2**63:
            records.append(record)
        else:
            damaged.append(number)
    if damaged:
        _log.warning("%s: left out what is damaged, %d of its lines, first line %d", path, len(damaged), damaged[0])
    return records


def first_lines(arguments: Mapping[str, Any], world_size: int) -> Iterable[str]:
    """What opens ``run.log``: versions, device, resolved arguments."""
    device = paddle.device.get_device()
    name = paddle.device.cuda.get_device_name() if device.startswith("gpu") else platform.machine()
    yield f"python {platform.python_version()}, paddle {paddle.__version__}, numpy {np.__version__}"
    yield f"device {device} ({name}), {world_size} process{'es' if world_size > 1 else ''}"
    yield "arguments: " + json.dumps(arguments, ensure_ascii=False, default=str)


def peak_memory_mib() -> int:
    """Largest memory of this process so far: the device's where there is one, else resident memory."""
    if paddle.device.get_device().startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated() >> 20
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage's figure begins at the parent's
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20  # macOS counts bytes


def duration(seconds: float) -> str:
    """``h:mm:ss``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def draw_curves(output_dir: Path) -> None:
    """Draw loss, learning rate and dev metrics of ``train.jsonl`` and ``eval.jsonl`` into ``curves.png``."""
    train, evaluations = read_records(output_dir / TRAIN_LOG), read_records(output_dir / EVAL_LOG)
    try:
        plots.curves(train, evaluations, output_dir / CURVES)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print(f"no picture of the curves: {extras.missing('matplotlib')}")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
