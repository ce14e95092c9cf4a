"""How the fuzz tests run: the same examples each time, or with ``scripts/fuzz.sh`` new ones for as long as asked.

Environment:
    MOBILEBERT_FUZZ_SECONDS: for each test; it runs again and again, from another seed each time.
    MOBILEBERT_FUZZ_SEED: the first seed.
"""

import functools
import itertools
import logging
import os
import time
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from support.strategies import code_points

SECONDS = float(os.environ.get("MOBILEBERT_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("MOBILEBERT_FUZZ_SEED", "0"))

set_hypothesis_home_dir(Path(__file__).parents[2] / ".cache" / "hypothesis")
hypothesis.settings.register_profile(
    "fuzz",
    derandomize=not SECONDS,
    database=None,
    deadline=None,  # a busy machine is no error
    print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("fuzz")

_examples: Counter[str] = Counter()
_seconds: Counter[str] = Counter()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Count the examples of each test."""
    handle = getattr(item.obj, "hypothesis", None)
    if handle is None or hasattr(handle.inner_test, "is_counted"):
        return
    inner = handle.inner_test

    @functools.wraps(inner)
    def counting(*args, **kwargs):
        _examples[os.environ["PYTEST_CURRENT_TEST"].split("::", 1)[1].removesuffix(" (call)")] += 1
        return inner(*args, **kwargs)

    counting.is_counted = True
    handle.inner_test = counting


@pytest.fixture(autouse=True, scope="module")
def plain_log():
    """A log that goes where a program left alone has it, not to the closed output of an earlier test of a command."""
    logger = logging.getLogger("mobilebert")
    before = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [], True
    yield
    logger.handlers, logger.propagate = before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Measure."""
    begun = time.monotonic()
    try:
        return (yield)
    finally:
        _seconds[item.nodeid.split("::", 1)[1]] += time.monotonic() - begun


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Repeat a test from other seeds until its time is over."""
    if not SECONDS or not hasattr(pyfuncitem.obj, "hypothesis"):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + SECONDS
    for seed in itertools.count(SEED):
        hypothesis.seed(seed)(pyfuncitem.obj)(**arguments)
        if time.monotonic() >= end:
            return True
    return None


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the examples tried."""
    if not _examples:
        return
    terminalreporter.section("examples tried")
    for name, seconds in sorted(_seconds.items()):
        terminalreporter.write_line(f"{_examples[name]:10,}  {seconds:7.1f} s  {name}")
    terminalreporter.write_line(f"{sum(_examples.values()):10,}  {sum(_seconds.values()):7.1f} s  in all")
    terminalreporter.write_line(f"{len(code_points):10,}  code points, one by one")
