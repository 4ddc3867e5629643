#!/usr/bin/env python3
"""Writes what follows from the chart's values.yaml and from crds/: values.schema.json, README.md, files/defaults.json and files/crds.

    tests/chart/generate.py            writes them
    tests/chart/generate.py --check    says which differ, and ends with 1 if one does

values.yaml describes itself: `# --` begins a description, `# @schema` adds JSON to the value's schema. What the schema can know from the
default (its type) is not repeated; null is always allowed. Needs Python alone.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "telegram-connector-operator"


def entries(text):
    """Every key: (path, default as text, description, schema hints, whether keys follow below it)."""
    stack, description, hints = [], [], {}
    lines = text.splitlines()
    for number, line in enumerate(lines):
        body = line.strip()
        if not body:
            description, hints = [], {}
        elif body.startswith("# -- "):
            description = [body[5:]]
        elif body.startswith("# @schema "):
            hints = json.loads(body[10:])
        elif body.startswith("#"):
            if description:
                description.append(body[1:].strip())
        else:
            indent = len(line) - len(line.lstrip())
            while stack and stack[-1][0] >= indent:
                stack.pop()
            key, _, default = body.partition(":")
            path = [name for _, name in stack] + [key]
            following = lines[number + 1] if number + 1 < len(lines) else ""
            below = not default.strip() and following.startswith(" " * (indent + 1))
            stack.append((indent, key))
            yield path, default.strip(), " ".join(description), hints, below
            description, hints = [], {}


def type_of(default):
    if default in ("true", "false"):
        return "boolean"
    if default.lstrip("-").isdigit():
        return "integer"
    if default.startswith("["):
        return "array"
    if default.startswith("{"):
        return "object"
    return "string"


def nullable(found):
    """Any value, and any entry of a map, may be null: Helm takes it out then, and the chart's default counts."""
    types = found["type"] if isinstance(found["type"], list) else [found["type"]]
    found["type"] = types + ["null"]
    if "enum" in found:
        found["enum"] = found["enum"] + [None]
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = {"type": [found["additionalProperties"]["type"], "null"]}


def value_of(default):
    """The default as JSON would have it; flow maps have plain keys."""
    if type_of(default) == "string":
        return default.strip('"')
    return json.loads(re.sub(r"([{,] *)(\w+):", r'\1"\2":', default))


def defaults(all_entries):
    """The default of every value by its path, for templates/_helpers.tpl. What is described as a whole has none: null takes it out."""
    found, free = {}, []
    for path, default, description, _, below in all_entries:
        if any(path[: len(prefix)] == prefix for prefix in free):
            continue
        if below and description:
            free.append(path)
        elif not below:
            found[".".join(path)] = value_of(default)
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def schema(all_entries):
    root = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of telegram-connector-operator",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "enabled": {"type": ["boolean", "null"], "description": "For the condition of a chart that has this one as a subchart; not used here."},
            "global": {
                "type": ["object", "null"],
                "description": "Values shared with other charts: imagePullSecrets and nodeSelector are added to this chart's own.",
                "properties": {
                    "imagePullSecrets": {"type": ["array", "null"], "items": {"type": ["string", "object"]}},
                    "nodeSelector": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]}},
                },
            },
        },
        "patternProperties": {"^x-": {"description": "Yours, such as YAML anchors."}},
    }
    free = []  # described as a whole: what lies below is the user's
    for path, default, description, hints, below in all_entries:
        if any(path[: len(prefix)] == prefix for prefix in free):
            continue
        node = root
        for name in path[:-1]:
            node = node["properties"][name]
        if below and description:
            free.append(path)
            found = {"type": "object"}
        elif below:
            found = {"type": "object", "additionalProperties": False, "properties": {}}
        else:
            found = {"type": type_of(default)}
        if description:
            found["description"] = description
        found.update(hints)
        nullable(found)
        node["properties"][path[-1]] = found
    return json.dumps(root, indent=2, ensure_ascii=False) + "\n"


def readme(all_entries):
    rows, free = [], []
    for path, default, description, _, below in all_entries:
        if not description or any(path[: len(prefix)] == prefix for prefix in free):
            continue
        if below:
            free.append(path)
        shown = "see values.yaml" if below else f"`{default}`"
        text = description.replace("|", "\\|")
        rows.append(f"| `{'.'.join(path)}` | {shown} | {text} |")
    head = (CHART / "README.md.head").read_text()
    return head + "\n## Values\n\n| value | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def wanted():
    found = list(entries((CHART / "values.yaml").read_text()))
    files = {
        CHART / "values.schema.json": schema(found),
        CHART / "README.md": readme(found),
        CHART / "files" / "defaults.json": defaults(found),
    }
    for crd in sorted((ROOT / "crds").glob("*.yaml")):
        files[CHART / "files" / "crds" / crd.name] = crd.read_text()
    return files


def main():
    differing = []
    for path, text in wanted().items():
        if not path.exists() or path.read_text() != text:
            differing.append(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.write_text(text)
    if "--check" in sys.argv and differing:
        print("not what values.yaml and crds/ say:", *differing, "- run tests/chart/generate.py and review the difference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
