"""Checks what Artifact Hub reads: artifacthub.py ROOT CHART [FOLDER] ; ROOT has crds/ and charts/artifacthub-repo.yml, CHART is a chart's folder.

The annotations have the documented shape, and they name the CRDs as crds/ has them. FOLDER: the examples are written there, for `check`.
"""

import pathlib
import sys

import jsonschema
import json
import yaml

HERE = pathlib.Path(__file__).parent
PREFIX = "artifacthub.io/"
PARSED = ["crds", "crdsExamples", "images"]


def annotations_of(chart):
    """The annotations without their prefix, those that are YAML in a string parsed."""
    given = yaml.safe_load((chart / "Chart.yaml").read_text())["annotations"]
    found = {key.removeprefix(PREFIX): value for key, value in given.items()}
    return {key: yaml.safe_load(value) if key in PARSED else value for key, value in found.items()}


def crds_of(root):
    """What the annotation `crds` must say: (kind, version, name, description)."""
    for path in sorted((root / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        version = crd["spec"]["versions"][0]
        yield crd["spec"]["names"]["kind"], version["name"], crd["metadata"]["name"], version["schema"]["openAPIV3Schema"]["description"]


def faults(root, chart):
    annotations = annotations_of(chart)
    repository = yaml.safe_load((root / "charts" / "artifacthub-repo.yml").read_text())
    validator = jsonschema.Draft202012Validator(json.loads((HERE / "artifacthub.schema.json").read_text()))
    for error in validator.iter_errors({"annotations": annotations, "repository": repository}):
        yield f"{error.json_path}: {error.message}"
    named = [tuple(crd.get(key) for key in ("kind", "version", "name", "description")) for crd in annotations.get("crds", [])]
    for crd in crds_of(root):
        if crd not in named:
            yield f"the annotation crds lacks, or says otherwise: {crd}"
    shown = {example["kind"] for example in annotations.get("crdsExamples", [])}
    if missing := {crd[0] for crd in crds_of(root)} - shown:
        yield f"the annotation crdsExamples has none of {', '.join(sorted(missing))}"


def main(root, chart, examples=None):
    chart = pathlib.Path(chart)
    found = list(faults(pathlib.Path(root), chart))
    for fault in found:
        print(f"{chart}/Chart.yaml, artifacthub-repo.yml: {fault}", file=sys.stderr)
    if examples:
        pathlib.Path(examples, "examples.yaml").write_text(yaml.safe_dump_all(annotations_of(chart)["crdsExamples"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
