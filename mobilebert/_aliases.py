"""The module names of version 0.1.0's first layout, for one more version: each is another name of the module of today.

``import mobilebert.deploy.predictor`` warns, naming the new place, and gives ``mobilebert.inference.predictor`` itself:
the same object, so that classes are the same whichever name they were imported by. Remove this file, and the two lines
that name it in ``mobilebert/__init__.py``, to end it.
"""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any

_PACKAGE = "mobilebert."
# New package -> modules that were elsewhere; "old" keeps its last name, "old:new" has another one now.
_MOVES = {
    "": "runtime:process",
    "base": "errors files hub extras plots cli outputs",
    "model": "config modeling heads precision weights",
    "text": "tokenizer encoding vocabulary",
    "accel": "fused:dispatch native",
    "data.qa": "data.squad_json data.squad:features postprocess.squad:spans metrics.squad:metrics",
    "data.classify": "data.glue_features:encode metrics.glue:metrics",
    "data.glue": "data.glue_files:files data.glue_download:download",
    "inference": (
        "deploy.batching:rows deploy.predictor deploy.source deploy.sentences deploy.engines deploy.manifest"
    ),
    "export": (
        "deploy.program deploy.fold deploy.export deploy.card deploy.samples deploy.agreement deploy.onnx_graph "
        "deploy.paddle_graph deploy.quantize:quantization"
    ),
    "tasks": (
        "finetune.squad:qa finetune.glue:classify finetune.glue_run:run finetune.glue_presets:recipes "
        "finetune.flags finetune.source:model finetune.exported:model finetune.layer_depth finetune.forward:model"
    ),
    "convert": "interop.hf:convert",
    "verify": ("interop.verify:model interop.verify_tokenizer:tokenizer interop.report_tokenizer interop.hard_texts"),
    "verify.peers": "interop.paddlenlp interop.paddlenlp_tokenizer",
    "commands.predict": (
        "commands.predict_batch:batch commands.predict_output:output commands.predict_session:session "
        "commands.predict_view:view"
    ),
}


def _moved() -> dict[str, str]:
    """Old full name -> new full name."""
    moved = {}
    for package, entries in _MOVES.items():
        for entry in entries.split():
            old, _, new = entry.partition(":")
            place = f"{package}." if package else ""
            moved[_PACKAGE + old] = f"{_PACKAGE}{place}{new or old.rpartition('.')[2]}"
    return moved


MOVED = _moved()
# Packages of which nothing is left but their modules' old names.
_GONE = {_PACKAGE + name for name in ("deploy", "finetune", "interop", "metrics", "postprocess")}


class _AliasLoader(Loader):
    """Gives the module of another name."""

    def __init__(self, new: str):
        self._new = new
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of today; importlib puts it under the old name too."""
        _warn(spec.name, self._new)
        module = import_module(self._new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run; the module keeps its own name, which importlib has just replaced."""
        module.__spec__ = self._spec

    def get_code(self, name: str) -> CodeType:
        """The code for ``python -m``, which runs it instead of importing it."""
        _warn(name, self._new)
        return find_spec(self._new).loader.get_code(self._new)


class _GoneLoader(Loader):
    """Gives an empty package, whose modules ``_Finder`` finds."""

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


class _Finder(MetaPathFinder):
    """Asked when no file of the name is there."""

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        """The module of the new name, or an empty package."""
        if name in _GONE:
            return ModuleSpec(name, _GoneLoader(), is_package=True)
        if name not in MOVED:
            return None
        new = find_spec(MOVED[name])
        return new and ModuleSpec(name, _AliasLoader(MOVED[name]), origin=new.origin)


def _warn(old: str, new: str, stacklevel: int = 3) -> None:
    # Frames of importlib are not counted: the warning is about the line that imports.
    message = f"{old} is {new} now; the old name goes away with the next version"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)


def attribute(package: str, name: str) -> Any:
    """A name of a module that has become a package, for the package's ``__getattr__``: it is in ``tasks`` now.

    Raises:
        AttributeError: there is no such name.
    """
    new = f"{package}.tasks"
    if name.startswith("_") or not hasattr(import_module(new), name):
        raise AttributeError(f"module '{package}' has no attribute '{name}'")
    _warn(f"{package}.{name}", f"{new}.{name}", stacklevel=4)
    return getattr(import_module(new), name)


def install() -> None:
    """Make the old names importable."""
    sys.meta_path.append(_Finder())
