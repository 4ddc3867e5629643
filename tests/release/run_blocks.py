"""Writes the shell of workflows, each step or job as a file, for shellcheck: run_blocks.py FOLDER FILE...  (GitHub's `run`, GitLab's `script`)"""

import pathlib
import sys

import yaml


def blocks(node):
    """The text of every script below a node."""
    if isinstance(node, list):
        for entry in node:
            yield from blocks(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "run" and isinstance(value, str):
                yield value
            elif key in ("script", "before_script", "after_script"):
                yield "\n".join(value if isinstance(value, list) else [value])
            else:
                yield from blocks(value)


def main(folder, *files):
    count = 0
    for file in files:
        for text in blocks(yaml.safe_load(pathlib.Path(file).read_text())):
            count += 1
            name = f"{count:02}-{pathlib.Path(file).stem.strip('.')}.sh"
            pathlib.Path(folder, name).write_text(f"#!/usr/bin/env bash\n{text}\n")
    if count == 0:
        sys.exit("no script found in " + " ".join(files))


if __name__ == "__main__":
    main(*sys.argv[1:])
