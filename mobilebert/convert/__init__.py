"""Checkpoints of other libraries in and out.

The package is also a function: ``from mobilebert import convert`` gives this module, and calling it is calling
``mobilebert.convert.convert.convert``.
"""

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mobilebert.convert.convert import Conversion


class _CallablePackage(ModuleType):
    # The import system sets the attribute `convert` of mobilebert to this package, whatever else stood there.

    def __call__(
        self,
        src: str | os.PathLike,
        dst: str | os.PathLike,
        head: str | None = None,
        reverse: bool = False,
        to: str | None = None,
    ) -> "Conversion":
        """Convert a checkpoint's folder to Paddle, or to what ``to`` names; see ``convert.convert``."""
        from mobilebert.convert.convert import convert

        return convert(src, dst, head, reverse, to)


sys.modules[__name__].__class__ = _CallablePackage
