"""Send SIGINT, SIGTERM or SIGHUP to every command that writes, at seeded random moments, its start included.

Each time it must end with the exit code of a shell (130, 143, 129) or be finished already, print one line at most and
no traceback, leave older outputs as they were and nothing temporary, and, run again, end as one left in peace.

    python tests/campaigns/signals.py --signals 4
    python tests/campaigns/signals.py --only convert export --signals 30 --seed 1
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from commands import COMMANDS, ROOT, Campaign, make_data, parser

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BOOT_SECONDS = 0.05  # before our first line runs, Python itself prints a traceback


def main() -> int:
    args = parser(__doc__)
    args.add_argument("--signals", type=int, default=4, help="sent to each command")
    args.add_argument("--seed", type=int, default=0, help="of the moments")
    args = args.parse_args()
    rng = random.Random(args.seed)
    sent = ended = faulty = 0
    with tempfile.TemporaryDirectory(prefix="signals_") as folder:
        work = Path(folder)
        make_data(work / "data")
        for command in COMMANDS:
            if args.only and command.name not in args.only:
                continue
            campaign = Campaign(command, work / "data", work / command.name, run)
            began = time.monotonic()
            campaign.renew()
            run(campaign.words)
            seconds = time.monotonic() - began
            for number in range(args.signals):
                campaign.renew()
                kind, moment = NUMBERS[number % len(NUMBERS)], rng.uniform(BOOT_SECONDS, seconds)
                process = start(campaign.words)
                time.sleep(moment)
                process.send_signal(kind)
                errors = process.communicate()[1]
                code = process.returncode
                faults = campaign.faults(errors)
                # Before cli.run begins and after Python's end there is nothing to clean: a signal ends any process.
                if code not in (0, 128 + kind, -kind):
                    faults.append(f"exit code {code}\n{errors[-2000:]}")
                if sum("interrupted" in line for line in errors.splitlines()) > 1:
                    faults.append("more than one line")
                sent, ended, faulty = sent + 1, ended + (code != 0), faulty + bool(faults)
                print(
                    f"{command.name}, {kind.name} after {moment:.2f} s: exit code {code} {faults or 'ok'}", flush=True
                )
    print(f"{sent} signals, {ended} of them ended a command; {faulty} with faults")
    return 1 if faulty else 0


def start(words: list[str]) -> subprocess.Popen:
    """Start a command, as at a terminal: it ignores none of the signals."""

    def attend() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    environment = {**os.environ, "MOBILEBERT_QUIET": "1"}
    command = [sys.executable, *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=attend,
    )  # fmt: skip


def run(words: list[str]) -> tuple[int, str]:
    """Run a command to its end -> exit code and standard error."""
    process = start(words)
    errors = process.communicate()[1]
    return process.returncode, errors


if __name__ == "__main__":
    sys.exit(main())
