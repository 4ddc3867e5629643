#!/usr/bin/env python3
"""Every value of the chart may be null, at any depth: the chart's default counts then, or what it belongs to is left out.

    nulls.py HELM CHART    renders each set of tests/chart/values with each of the chart's top-level values as null, and one set that
                            switches everything on with each value at any depth as null

A set may be refused by a sentence of the chart's own, such as a Gateway without the mode that it is for. Needs Python alone.
"""

import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
EVERYTHING = HERE / "values" / "everything-on.yaml"


def paths(schema, prefix=()):
    """The path of each value that the schema knows, and of those below it."""
    for name, child in schema.get("properties", {}).items():
        yield (*prefix, name)
        yield from paths(child, (*prefix, name))


def problem(helm, chart, values, path):
    """What is wrong with the chart with this value as null; None if it is right."""
    null = None
    for name in reversed(path):
        null = {name: null}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as extra:
        json.dump(null, extra)
        extra.flush()
        command = [helm, "template", "operator", chart, "--namespace", "telegram-connectors", "--values", values, "--values", extra.name]
        done = subprocess.run(command, capture_output=True, text=True)
    what = f"{values.stem}: {'.'.join(path)}: null"
    if done.returncode != 0:
        # `fail` of the chart's own: one sentence behind the place of its template.
        own = re.search(r"execution error at \(\S+\): \S+", done.stderr) and "nil pointer" not in done.stderr
        return None if own else f"{what}: {done.stderr.strip()}"
    odd = re.search(r"^.*(<no value>|<nil>|%!\w|: null$).*$", done.stdout, flags=re.M)
    return f"{what}: rendered as {odd[0].strip()!r}" if odd else None


def main(helm, chart):
    known = list(paths(json.loads((pathlib.Path(chart) / "values.schema.json").read_text())))
    cases = [(values, path) for values in sorted((HERE / "values").glob("*.yaml")) for path in known if len(path) == 1]
    cases += [(EVERYTHING, path) for path in known if len(path) > 1]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        problems = list(filter(None, pool.map(lambda case: problem(helm, chart, *case), cases)))
    for found in problems:
        print("FAILED:", found, file=sys.stderr)
    print(f"chart: {len(cases)} sets with a value as null rendered")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
