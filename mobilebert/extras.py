"""The optional libraries: which extra of the package brings which, and what to say where one is missing."""

from mobilebert.errors import InputError

# Extra -> the modules that it brings and that this package imports; pyproject.toml names the libraries.
EXTRAS = {
    "cpu": ("paddle",),
    "torch": ("torch", "transformers"),
    "train": ("visualdl", "matplotlib", "sklearn", "scipy"),
    "deploy": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "demo": ("starlette", "uvicorn"),
}


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module, named as ``ModuleNotFoundError.name`` does (``"sklearn.metrics"``); else None."""
    library = (module or "").split(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if library in modules), None)


def missing(module: str) -> InputError:
    """What to tell a user who lacks a module of an extra."""
    extra = extra_of(module)
    gpu = "; for a GPU, paddlepaddle-gpu from Paddle's own package index" if extra == "cpu" else ""
    library = module.split(".")[0]
    # Not the package's name, which is a stranger's to take on the index.
    return InputError(f"{library} is not installed: pip install '.[{extra}]' in the repository's folder{gpu}")
