"""Writes docs/licences.md from requirements.lock and the packages' metadata; see licences.sh."""

import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
COPYLEFT = re.compile(r"GPL|MPL|EPL|EUPL|CDDL|GNU|Mozilla", re.IGNORECASE)

HEAD = """\
# Licences of what `scripts/setup.sh` installs

The packages of `requirements.lock`, each with its licence as its own metadata states it; this page is made by
`bash scripts/licences.sh`. None of them is part of this repository, which is under Apache-2.0 ([LICENSE](../LICENSE)).
A package may hold parts under further licences (torch, NumPy and SciPy do); its folder in `.venv` has their texts.

Not in the list: Paddle for the GPU and NVIDIA's libraries (`DEVICE=gpu`), the latter under NVIDIA's own terms; Chromium
and the compiler, which are the system's; data sets ([README.md](../README.md#licence)).

Copyleft, to be looked at before a package is changed or passed on, neither of which happens here:

"""


def read_lock() -> dict[str, list[str]]:
    """Versions by name, the newest Python's first."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^ ;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        if version not in versions.setdefault(name, []):  # the same one may stand there for some Pythons each
            versions[name].insert(0, version)
    return versions


def read_purposes() -> dict[str, str]:
    """Of the top level: the first sentence of the comment above it in requirements.txt."""
    purposes = {}
    for block in (ROOT / "requirements.txt").read_text().split("\n\n"):
        comment = " ".join(line.lstrip("# ") for line in block.splitlines() if line.startswith("#"))
        for name in re.findall(r"^([\w.-]+)==", block, re.MULTILINE):
            purposes[canonicalize_name(name)] = re.split(r"[.:(] ?", comment, maxsplit=1)[0].strip()
    return purposes


def fetch_missing(names: set[str], place: str) -> None:
    """Those that this Python does not need, as another one would install them, into a folder of their own."""
    entries = re.findall(r"^[\w.-]+==(?:.*\\\n)*.*\n", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    wanted = [re.sub(r"; .*?(?= \\)", "", entry) for entry in entries if entry.split("==")[0] in names]
    (Path(place) / "wanted.txt").write_text("".join(wanted))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", place]
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", "3.10"]
    subprocess.run([*command, *options, "-r", f"{place}/wanted.txt"], check=True)


def licence_of(package: metadata.PackageMetadata) -> str:
    """The expression; else a short name; else what the classifiers say."""
    classifiers = [line.split(" :: ")[-1] for line in package.get_all("Classifier") or [] if line.startswith("License")]
    stated = (package.get("License") or "").strip()
    if expression := package.get("License-Expression"):
        return expression
    if stated and "\n" not in stated:
        return stated
    return ", ".join(line for line in classifiers if line != "OSI Approved") or "not stated"


def needs_of(package: metadata.Distribution) -> set[str]:
    """Names of what the package asks for under any Python, without extras."""
    return {canonicalize_name(Requirement(line).name) for line in package.requires or [] if "extra ==" not in line}


def main() -> None:
    """Write the document."""
    versions, purposes = read_lock(), read_purposes()
    packages = {canonicalize_name(package.metadata["Name"]): package for package in metadata.distributions()}
    with tempfile.TemporaryDirectory() as place:
        if missing := versions.keys() - packages.keys():
            fetch_missing(missing, place)
            fetched = metadata.distributions(path=[place])
            packages |= {canonicalize_name(package.metadata["Name"]): package for package in fetched}
        packages = {name: packages[name] for name in sorted(versions)}
        licences = {name: licence_of(package.metadata) for name, package in packages.items()}
        needs = {name: needs_of(package) for name, package in packages.items()}
    lines = ["| package | version | licence | what for |", "| --- | --- | --- | --- |"]
    for name in packages:
        parents = ", ".join(parent for parent in needs if name in needs[parent])
        purpose = purposes.get(name) or f"needed by {parents or 'an older version of another, under Python 3.10'}"
        lines.append(f"| {name} | {', '.join(versions[name])} | {licences[name]} | {purpose} |")
    copyleft = [f"- {name}: {licences[name]}" for name in packages if COPYLEFT.search(licences[name])]
    (ROOT / "docs/licences.md").write_text(HEAD + "\n".join([*copyleft, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
