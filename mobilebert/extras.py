"""The optional libraries: which extra of the package brings which, and what to say where one is missing."""

from mobilebert.errors import InputError

PACKAGE = "mobilebert-paddle"
# Extra -> the modules that it brings and that this package imports; pyproject.toml names the libraries.
EXTRAS = {
    "cpu": ("paddle",),
    "torch": ("torch", "transformers"),
    "train": ("visualdl", "matplotlib", "sklearn", "scipy"),
    "deploy": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
}


def missing(module: str | None) -> InputError | None:
    """What to tell a user when an import failed.

    Args:
        module: that could not be found, as ``ModuleNotFoundError.name`` has it: ``"sklearn.metrics"``.

    Returns:
        The error with the extra to install; None for a module that no extra brings: then it is our own mistake.
    """
    library = (module or "").split(".")[0]
    for extra, modules in EXTRAS.items():
        if library in modules:
            gpu = "; for a GPU, Paddle's own package index has paddlepaddle-gpu" if extra == "cpu" else ""
            return InputError(f"{library} is not installed: pip install '{PACKAGE}[{extra}]'{gpu}")
    return None
