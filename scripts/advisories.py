"""Reads pip-audit's answers: prints the advisories, and what was not checked, which pip-audit lets pass."""

import json
import sys


def main(answers: list[str]) -> int:
    """Give the exit code: 1 where there are advisories, 3 where a package was not checked."""
    packages = []
    for answer in answers:
        with open(answer, encoding="utf-8") as file:
            packages += json.load(file)["dependencies"]
    found = 0
    for package in packages:
        for advisory in package.get("vulns", []):
            found += 1
            names = " ".join([advisory["id"], *advisory["aliases"]])
            fixed = ", ".join(advisory["fix_versions"]) or "nowhere yet"
            print(f"{package['name']} {package['version']}: {names}; fixed in {fixed}")
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    print(f"{len(packages) - len(skipped)} of {len(packages)} checked, {found} advisories")
    if skipped:
        print(f"not checked: {len(skipped)} of {len(packages)}, the first: {skipped[0]}", file=sys.stderr)
    return 1 if found else 3 if skipped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
