"""The module names of the first layout: each warns and is the module of today."""

import importlib
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import mobilebert
from mobilebert import _aliases

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh(monkeypatch):
    """No old name has been imported yet."""
    for name in [name for name in sys.modules if name in _aliases.MOVED or name in _aliases._GONE]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("runtime", "heads", "deploy", "interop"):
        monkeypatch.delattr(mobilebert, name, raising=False)


@pytest.mark.parametrize("old", _aliases.MOVED)
def test_an_old_name_is_the_module_of_today(old, fresh):
    new = _aliases.MOVED[old]
    assert find_spec(new).origin.endswith(".py"), new
    today = importlib.import_module(new)
    spec, name = today.__spec__, today.__name__
    with pytest.warns(DeprecationWarning, match=f"^{old} is {new} now; the old name goes away with the next version$"):
        alias = importlib.import_module(old)
    assert alias is today and alias.__spec__ is spec and alias.__name__ == name == new


def test_every_form_of_import(fresh):
    from mobilebert import MobileBertForQuestionAnswering as Here
    from mobilebert import process

    with pytest.warns(DeprecationWarning, match=r"mobilebert.runtime is mobilebert.process now") as caught:
        from mobilebert import runtime
    assert runtime is process and caught[0].filename == __file__  # the line that imports
    with pytest.warns(DeprecationWarning, match=r"mobilebert.heads is mobilebert.model.heads now"):
        from mobilebert.heads import MobileBertForQuestionAnswering as There
    assert There is Here and pickle.loads(pickle.dumps(There)) is Here
    with pytest.warns(DeprecationWarning, match=r"mobilebert.deploy.predictor is mobilebert.inference.predictor now"):
        import mobilebert.deploy.predictor
    assert mobilebert.deploy.predictor.Predictor is mobilebert.Predictor
    with pytest.warns(DeprecationWarning, match=r"mobilebert.interop.hf is mobilebert.convert.convert now"):
        from mobilebert.interop import hf
    assert hf.convert is sys.modules["mobilebert.convert.convert"].convert


def test_a_module_that_became_a_package_keeps_its_names(fresh):
    from mobilebert.data.glue import tasks

    with pytest.warns(DeprecationWarning, match=r"data.glue.get_task is mobilebert.data.glue.tasks.get_task") as caught:
        from mobilebert.data.glue import get_task
    assert get_task is tasks.get_task and caught[0].filename == __file__
    with pytest.raises(ImportError):
        from mobilebert.data.glue import novelty  # noqa: F401


def test_a_name_that_never_was_is_not_found(fresh):
    for name in ("mobilebert.novelty", "mobilebert.deploy.novelty", "mobilebert.runtime.novelty"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)
    with pytest.raises(ImportError):
        from mobilebert import novelty  # noqa: F401


def test_an_old_module_is_run_with_python_m():
    command = [sys.executable, "-W", "always", "-m", "mobilebert.hub", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.startswith("usage: python -m mobilebert.hub ")
    assert "mobilebert.hub is mobilebert.base.hub now" in result.stderr


def test_the_names_of_today_do_not_warn():
    program = "import mobilebert, pkgutil, sys\nfor name in sys.argv[1:]: __import__(name)"
    result = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", program, "mobilebert.base.hub"], cwd=ROOT
    )
    assert result.returncode == 0
