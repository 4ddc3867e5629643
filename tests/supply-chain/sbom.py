#!/usr/bin/env python3
"""The software bill of materials of the container image, and its licence texts. Which licences are allowed is in deny.toml.

    tests/supply-chain/sbom.py FOLDER    writes FOLDER/sbom.cdx.json (CycloneDX 1.6) and FOLDER/third-party-licences.txt

What it reads is `cargo metadata --locked` without the feature `dev`: what is linked into the binary, and what runs while it is built. Needs cargo
and Python alone.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
LICENCE_FILES = re.compile(r"^(licen[cs]e|copying|notice|unlicense|copyright)", re.I)


def crates():
    """Every package that the image's binary needs: id -> (package, linked into it or needed to build only, ids that it needs itself)."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--no-default-features"]
    for target in TARGETS:
        command += ["--filter-platform", target]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, waiting = {}, [(root, True)]
    while waiting:
        at, linked = waiting.pop()
        if at in found and (found[at][1] or not linked):
            continue
        is_macro = any("proc-macro" in target["kind"] for target in packages[at]["targets"])
        linked = linked and not is_macro
        needs = []
        for dependency in nodes[at]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if kinds & {None, "build"}:
                needs.append(dependency["pkg"])
                waiting.append((dependency["pkg"], linked and None in kinds))
        found[at] = (packages[at], linked, needs)
    return root, found


def checksums():
    text = (ROOT / "Cargo.lock").read_text()
    entry = re.compile(r'\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"')
    return {(name, version): checksum for name, version, checksum in entry.findall(text)}


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, linked, hashes):
    found = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "scope": "required" if linked else "excluded",
        "licenses": [{"expression": (package["license"] or "NOASSERTION").replace("/", " OR ")}],
    }
    if checksum := hashes.get((package["name"], package["version"])):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def sbom(root, found):
    hashes = checksums()
    package = found[root][0]
    others = sorted((at for at in found if at != root), key=lambda at: reference(found[at][0]))
    application = {"type": "application", "bom-ref": reference(package), "name": package["name"], "version": package["version"]}
    application["licenses"] = [{"expression": package["license"]}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": application},
        "components": [component(*found[at][:2], hashes) for at in others],
        "dependencies": [
            {"ref": reference(found[at][0]), "dependsOn": sorted(reference(found[need][0]) for need in found[at][2])} for at in [root, *others]
        ],
    }


def licence_texts(root, found):
    """The texts of what is linked into the binary, each once, with the crates that have it."""
    texts, without = {}, []
    for at, (package, linked, _) in found.items():
        if at == root or not linked:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        files = [file for file in sorted(folder.iterdir()) if file.is_file() and LICENCE_FILES.match(file.name)]
        for file in files:
            text = file.read_text(errors="replace").strip()
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            texts.setdefault(key, (text, set()))[1].add(f"{package['name']} {package['version']}")
        if not files:
            without.append(f"{package['name']} {package['version']}: {package['license']} ({package['repository']})")
    line = "=" * 100
    parts = [f"{line}\n{', '.join(sorted(names))}\n{line}\n\n{text}\n" for text, names in sorted(texts.values(), key=lambda found: sorted(found[1]))]
    if without:
        parts.append(f"{line}\nWithout a licence file of their own\n{line}\n\n" + "\n".join(sorted(without)) + "\n")
    return "\n".join(parts)


def main(folder):
    root, found = crates()
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sbom.cdx.json").write_text(json.dumps(sbom(root, found), indent=1) + "\n")
    (folder / "third-party-licences.txt").write_text(licence_texts(root, found))
    linked = sum(1 for _, linked, _ in found.values() if linked)
    print(f"supply chain: {len(found)} crates, {linked} linked into the binary")


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["target/supply-chain"])
