"""Writes requirements.lock from uv's pylock.toml: for Linux x86-64 and Python 3.10 to 3.13, on a CPU; see lock.sh."""

import re
import sys
from collections.abc import Iterable

import tomli
from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

PYTHONS = [(3, 10), (3, 11), (3, 12), (3, 13)]
# glibc up to 2.35, Ubuntu 22.04's. What needs a newer one is no wheel for everybody.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 36)]
PLATFORMS += [f"{name}_x86_64" for name in ("linux", "manylinux1", "manylinux2010", "manylinux2014")]
# What torch's build for CUDA asks for, and its build for the CPU does not.
GPU_ONLY = re.compile(r"(nvidia|cuda)-.*|triton")
# The line of requirements.txt, and of the lock, that ends what a minimal environment has.
END_OF_MINIMAL = "# ---- Not with --minimal ----"
# The CPU builds are not on the ordinary index; PyTorch's own lists them with their hashes:
# setup.sh's TORCH_INDEX, folder torch/, the links to torch-VERSION+cpu-cp3XX-cp3XX-manylinux_2_28_x86_64.whl.
TORCH_CPU = {
    "2.13.0": [
        # 3.10: one of the two; the other is that of the same build for s390x.
        "0555fde6108ca90247ae33d4e1237cbae475c86a223bb2f0f91d9addf1f611bd",
        "f5cbb61180a9793d9e12fe115a2310d2600bd449dfb9a01ec5640e21359fa5ea",
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # 3.11
        "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",  # 3.12
        "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",  # 3.13
    ],
}

HEADER = """\
# All of a CPU environment, with hashes: what scripts/setup.sh installs. Linux x86-64, Python 3.10 to 3.13.
# Made of requirements.txt by `bash scripts/lock.sh`; do not edit.
# As of {day}: nothing newer than that day was looked at.
"""


def runs_on(package: dict) -> list[tuple[int, int]]:
    """The Pythons that the package is installed under."""
    marker = Marker(package["marker"]) if "marker" in package else None
    linux = {"sys_platform": "linux", "platform_machine": "x86_64", "platform_python_implementation": "CPython"}
    found = []
    for major, minor in PYTHONS:
        version = {"python_version": f"{major}.{minor}", "python_full_version": f"{major}.{minor}.9"}
        if marker is None or marker.evaluate({**linux, **version}):
            found.append((major, minor))
    return found


def marker_of(pythons: list[tuple[int, int]]) -> str:
    """As requirements.txt would say it."""
    bounds = []
    if pythons[0] != PYTHONS[0]:
        bounds.append(f'python_version >= "3.{pythons[0][1]}"')
    if pythons[-1] != PYTHONS[-1]:
        bounds.append(f'python_version < "3.{pythons[-1][1] + 1}"')
    return "; " + " and ".join(bounds) if bounds else ""


def hashes_of(package: dict, pythons: list[tuple[int, int]]) -> list[str]:
    """Of the wheels that fit one of the Pythons; there must be one for each."""
    wheels = {}
    for wheel in package.get("wheels", []):
        tags = parse_wheel_filename(wheel["url"].rsplit("/", 1)[1].replace("%2B", "+"))[3]
        wheels[wheel["hashes"]["sha256"]] = tags
    fitting = set()
    for python in pythons:
        supported = {*cpython_tags(python, platforms=PLATFORMS), *compatible_tags(python, platforms=PLATFORMS)}
        found = {digest for digest, tags in wheels.items() if tags & supported}
        if not found:
            sys.exit(f"error: {package['name']} {package['version']} has no wheel for Python {python[0]}.{python[1]}")
        fitting |= found
    return sorted(fitting)


def read(pylock: str) -> dict[tuple[str, str], tuple[dict, list[tuple[int, int]]]]:
    """Name and version -> a package of uv's file and the Pythons that it is for; none for other systems."""
    with open(pylock, "rb") as file:
        packages = tomli.load(file)["packages"]
    wanted = [package for package in packages if runs_on(package) and not GPU_ONLY.fullmatch(package["name"])]
    return {(package["name"], package["version"]): (package, runs_on(package)) for package in wanted}


def main(pylock: str, minimal_pylock: str, day: str) -> None:
    """Print the lock, what a minimal environment needs first."""
    packages, minimal = read(pylock), read(minimal_pylock)
    if further := minimal.keys() - packages.keys():
        sys.exit(f"error: a minimal environment alone would take other versions, pin them: {sorted(further)}")
    print(HEADER.format(day=day), end="")
    print_entries((package, minimal[key][1]) for key, (package, _) in packages.items() if key in minimal)
    print(END_OF_MINIMAL)
    for key, (package, pythons) in packages.items():
        needed_before = minimal[key][1] if key in minimal else []
        print_entries([(package, [python for python in pythons if python not in needed_before])])


def print_entries(entries: Iterable[tuple[dict, list[tuple[int, int]]]]) -> None:
    """Packages, the Pythons that they are for (where there are any), and the hashes, as pip reads them."""
    for package, pythons in entries:
        if not pythons:
            continue
        name, version = package["name"], package["version"]
        hashes = hashes_of(package, pythons)
        if name == "torch":
            if version not in TORCH_CPU:
                sys.exit(f"error: no hashes of torch {version}'s CPU build; scripts/lock.py says where they are")
            print("# The package index's build for CUDA, then the build for the CPU.")
            hashes += TORCH_CPU[version]
        lines = [f"{name}=={version}{marker_of(pythons)}", *(f"--hash=sha256:{digest}" for digest in hashes)]
        print(*lines, sep=" \\\n    ")


if __name__ == "__main__":
    main(*sys.argv[1:])
