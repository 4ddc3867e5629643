#!/usr/bin/env python3
"""Packages the chart for a release: with the image's place as its default, and where it comes from for Artifact Hub.

    .ci/release/chart.py REGISTRY FOLDER    writes FOLDER/telegram-connector-operator-VERSION.tgz

The image is REGISTRY/telegram-connector-operator:VERSION, and the chart is going to be oci://REGISTRY/charts/telegram-connector-operator. SOURCE_URL
is the project's page. HELM names the helm. Needs Python and Helm.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import version

NAME = "telegram-connector-operator"


def replace(path, *changes):
    """Each change is (expression, text), and must apply exactly once: a change of the file must not be missed here."""
    text = path.read_text()
    for expression, new in changes:
        text, count = re.subn(expression, lambda _: new, text)
        if count != 1:
            sys.exit(f"{path.name}: {expression!r} is there {count} times, not once")
    path.write_text(text)


def annotations(image, number):
    lines = ["  artifacthub.io/images: |", "    - name: telegram-connector-operator", f"      image: {image}:{number}"]
    lines += ["      platforms: [linux/amd64, linux/arm64]", f'  artifacthub.io/prerelease: "{str("-" in number).lower()}"']
    return "\n".join(lines) + "\n"


def stage(root, registry, number, source):
    """The chart as it is released, in a copy of what its generator needs."""
    for folder in [f"charts/{NAME}", "crds"]:
        shutil.copytree(version.ROOT / folder, root / folder)
    (root / "tests/chart").mkdir(parents=True)
    shutil.copy(version.ROOT / "tests/chart/generate.py", root / "tests/chart/generate.py")
    chart = root / "charts" / NAME
    image = f"{registry}/{NAME}"
    replace(
        chart / "values.yaml",
        (r"# -- Where the image is\. There is no public one yet: .*", "# -- Where the image is."),
        (rf"(?<=\n  )repository: {NAME}(?=\n)", f"repository: {image}"),
    )
    replace(
        chart / "README.md.head",
        (rf"charts/{NAME} \\(?=\n)", f"oci://{registry}/charts/{NAME} --version {number} \\"),
        (r" \\\n +--set image\.repository=\S+", ""),
    )
    replace(chart / "Chart.yaml", (r"\Z", annotations(image, number)), (r"\nkeywords:", f"\nhome: {source}\nsources: [{source}]\nkeywords:"))
    subprocess.run([sys.executable, root / "tests/chart/generate.py"], check=True)
    return chart


def main(registry, folder):
    number = version.workspace()["package"]["version"]
    with tempfile.TemporaryDirectory() as work:
        chart = stage(pathlib.Path(work), registry, number, os.environ["SOURCE_URL"])
        helm = os.environ.get("HELM", "helm")
        subprocess.run([helm, "lint", "--strict", "--quiet", chart], check=True)
        subprocess.run([helm, "package", chart, "--version", number, "--app-version", number, "--destination", folder], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
