"""transformers.js and ONNX Runtime for browsers: what of npm's packages a page needs, pinned, kept in our cache."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import atomic_folder, cache_folder
from mobilebert.web import FOLDER

PINS = ("package.json", "package-lock.json")
LICENCES = "THIRD-PARTY-LICENCES.txt"
# Without WebGPU: half the size of the files that transformers.js takes by itself.
_TAKEN = (
    "@huggingface/transformers/dist/transformers.min.js",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
)
FILES = (*(Path(name).name for name in _TAKEN), LICENCES)
_TIMEOUT_S = 900
# No package of ONNX Runtime has the text; its library for browsers is built of others' code too.
_MIT = """\
Copyright (c) Microsoft Corporation. Notices of what it is built of: ThirdPartyNotices.txt in its repository.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def fetch() -> Path:
    """The folder of our cache with ``FILES``, installed by npm where it is not there.

    npm compares each package with the digest in ``package-lock.json`` and runs none of their scripts; its own cache and
    logs go with the temporary folder.

    Raises:
        InputError: there is no npm, or it failed.
    """
    content = b"".join((FOLDER / name).read_bytes() for name in PINS) + repr(FILES).encode()
    kept = cache_folder() / f"npm-{hashlib.sha256(content).hexdigest()[:16]}"
    if all((kept / name).is_file() for name in FILES):
        return kept
    npm = shutil.which("npm")
    if npm is None:
        raise InputError("`format=web` takes transformers.js from npm; install it (Debian and Ubuntu: apt install npm)")
    with atomic_folder(kept) as folder:
        installed = folder / "installed"
        installed.mkdir()
        for name in PINS:
            shutil.copyfile(FOLDER / name, installed / name)
        _install(npm, installed)
        modules = installed / "node_modules"
        for name in _TAKEN:
            shutil.copyfile(modules / name, folder / Path(name).name)
        (folder / LICENCES).write_text(_licences(modules), encoding="utf-8")
        shutil.rmtree(installed)
    return kept


def _install(npm: str, folder: Path) -> None:
    """Run ``npm ci`` in a folder with ``PINS``."""
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", f"--cache={folder / 'cache'}"]
    environment = {**os.environ, "NO_UPDATE_NOTIFIER": "1"}
    try:
        subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        reason = _reason(error.stderr)
        raise InputError(f"npm cannot install what the page needs ({reason}); is there a network?") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"npm cannot install what the page needs ({first_line(error)})") from None


def _reason(printed: str) -> str:
    lines = [line.removeprefix("npm error").strip() for line in printed.splitlines() if line.startswith("npm error")]
    return next((line for line in lines if line and not line.startswith("code ")), "it says nothing")


def _licences(modules: Path) -> str:
    """The licences of all that is installed; types for a compiler are not taken along."""
    parts = []
    for path in sorted([*modules.glob("*/package.json"), *modules.glob("@*/*/package.json")]):
        name = path.parent.relative_to(modules).as_posix()
        about = json.loads(path.read_text(encoding="utf-8"))
        # Two packages for Node are replaced by onnxruntime-common (``overrides`` in package.json).
        if name != about["name"] or name.startswith("@types/") or name == "undici-types":
            continue
        texts = [each.read_text(encoding="utf-8") for each in sorted(path.parent.glob("LICEN[SC]E*"))]
        text = "\n".join(texts) or (_MIT if name.startswith("onnxruntime-") else "")
        parts.append(f"{name} {about['version']}: {about.get('license', '')}\n\n{text}")
    return f"\n{80 * '-'}\n\n".join(parts)
