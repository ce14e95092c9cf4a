"""Make the API pages from the docstrings, with pdoc: HTML that needs no network. A warning is an error."""

import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.errors import InputError

EXAMPLES = """\
  python scripts/docs.py                                        # outputs/api/index.html
  python scripts/docs.py --output_dir site mobilebert.model.heads     # one module"""


def main() -> None:
    """Parse, import, write."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("modules", nargs="*", help="only these (default: all of mobilebert)")
    parser.add_argument("--output_dir", default="outputs/api", help="folder to write")
    args = parser.parse_args()
    import mobilebert

    try:
        import paddle  # noqa: F401 (pdoc forbids processes while it imports, and Paddle starts one)
        import pdoc
        import pdoc.render
    except ImportError:
        raise InputError("pdoc is not installed; bash scripts/setup.sh installs it") from None

    # Where a package loads its public names on first use, show its modules: the names are documented there.
    for package in [mobilebert, *packages_below(mobilebert)]:
        if hasattr(package, "__all__"):
            names = [module.name for module in pkgutil.iter_modules(package.__path__)]
            package.__all__ = [name for name in names if name != "commands"]  # a command's page is its --help
    warnings.filterwarnings("error", module=r"pdoc\.|pdoc$")
    pdoc.render.configure(docformat="google", footer_text=f"mobilebert-paddle {mobilebert.__version__}")
    try:
        pdoc.pdoc(*(args.modules or ["mobilebert"]), output_directory=Path(args.output_dir))
    except (UserWarning, RuntimeError, ValueError) as error:
        raise InputError(str(error).strip().splitlines()[0]) from None
    pages = list(Path(args.output_dir).rglob("*.html"))
    print(f"{args.output_dir}/index.html: {len(pages)} pages")


def packages_below(package) -> list:
    """The packages in a package, imported."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [import_module(module.name) for module in found if module.ispkg]


if __name__ == "__main__":
    cli.run(main)
