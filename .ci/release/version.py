#!/usr/bin/env python3
"""The version: `[workspace.package]` of Cargo.toml has it, and every other file that names it must say the same.

    .ci/release/version.py                 prints it
    .ci/release/version.py check [vX.Y.Z]  names every place that says something else, and a tag that does
    .ci/release/version.py set X.Y.Z       writes it everywhere; then: UPDATE=1 tests/chart/ci.sh

Needs Python 3.11 alone.
"""

import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBER = r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]*[0-9A-Za-z])?"
CHART = "charts/telegram-connector-operator/Chart.yaml"
# What is written for people: image tags, chart versions, and tags of releases in commands.
TEXTS = ["Dockerfile", "README.md", "docs/**/*.md", "examples/**/*.yaml", "examples/**/*.yml", "examples/**/*.md", "charts/**/*.md*"]


def workspace():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]


def patterns():
    """Where versions are: (file, expression whose second group is the version, whether it must be there)."""
    yield "Cargo.toml", rf'(\[workspace\.package\]\nversion = ")({NUMBER})(?=")', True
    members = [ROOT / "Cargo.toml", *(path for member in workspace()["members"] for path in ROOT.glob(f"{member}/Cargo.toml"))]
    for manifest in sorted(members):
        name = tomllib.loads(manifest.read_text())["package"]["name"]
        yield "Cargo.lock", rf'(\[\[package\]\]\nname = "{name}"\nversion = ")({NUMBER})(?=")', True
    yield CHART, rf"(?m)(^version: )({NUMBER})$", True
    yield CHART, rf"(?m)(^appVersion: )({NUMBER})$", True
    for path in sorted({path for text in TEXTS for path in ROOT.glob(text)}):
        file = str(path.relative_to(ROOT))
        yield file, rf"(telegram-connector-operator:|--version )({NUMBER})", False
        yield file, rf"(\bTAG=v|refs/tags/v|download/v|telegram-connector-operator_)({NUMBER})", False


def places():
    """Every place: (file, line, version)."""
    for file, pattern, required in patterns():
        text = (ROOT / file).read_text()
        found = list(re.finditer(pattern, text))
        if required and not found:
            yield file, 1, "none"
        for match in found:
            yield file, text.count("\n", 0, match.start(2)) + 1, match[2]


def check(tag=None):
    version = workspace()["package"]["version"]
    wrong = [f"{file}:{line}: says {found}, but Cargo.toml says {version}" for file, line, found in places() if found != version]
    if tag is not None and tag != f"v{version}":
        wrong.append(f"the tag {tag} is not v{version}, which Cargo.toml says: .ci/release/version.py set {tag.removeprefix('v')}, commit, and tag that commit")
    print(*wrong, sep="\n", file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


def write(version):
    if not re.fullmatch(NUMBER, version):
        sys.exit(f"{version} is not a version such as 1.2.3 or 1.2.3-rc.1")
    for file, pattern, _ in list(patterns()):
        path = ROOT / file
        path.write_text(re.sub(pattern, rf"\g<1>{version}", path.read_text()))
    return 0


def main(command="print", *arguments):
    if command == "print":
        print(workspace()["package"]["version"])
        return 0
    return {"check": check, "set": write}[command](*arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
