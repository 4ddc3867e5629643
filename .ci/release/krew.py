#!/usr/bin/env python3
"""Writes the manifest of the kubectl plugin `tgc` for krew, from the tarballs of a folder.

    .ci/release/krew.py FOLDER URL    writes FOLDER/tgc.yaml; URL is where the folder's files can be downloaded

Needs Python alone.
"""

import hashlib
import os
import pathlib
import sys

import version

HEAD = """\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: tgc
spec:
  version: v{version}
  homepage: {source}
  shortDescription: Check TelegramConnectors, and allow or deny users
  description: |
    For the TelegramConnectors of the Telegram Connector Operator:
    `kubectl tgc check FILES` validates manifests without a cluster, against the schema and the CEL rules.
    `kubectl tgc allow` and `deny` print or apply the change that lets a user write to a bot, or shuts one out.
    `kubectl tgc crds` prints the CustomResourceDefinitions of this version.
  caveats: |
    The namespace is `default` unless `--namespace` is given; the kubeconfig's own is not used.
    Commands that read the store (`sessions`, `denied`, `dead-letters`, `backup`) want `--store`, and are meant for `kubectl exec`.
  platforms:
"""
PLATFORM = """\
    - selector:
        matchLabels:
          os: linux
          arch: {arch}
      uri: {url}/{file}
      sha256: {sha256}
      bin: telegram-connector-operator
"""


def main(folder, url):
    number, folder = version.workspace()["package"]["version"], pathlib.Path(folder)
    text = HEAD.format(version=number, source=os.environ["SOURCE_URL"])
    tarballs = sorted(folder.glob(f"telegram-connector-operator_{number}_linux_*.tar.gz"))
    if not tarballs:
        sys.exit(f"{folder} has no tarball of {number}: .ci/release/pack.py makes them")
    for tarball in tarballs:
        arch = tarball.name.removesuffix(".tar.gz").rsplit("_", 1)[1]
        digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
        text += PLATFORM.format(arch=arch, url=url, file=tarball.name, sha256=digest)
    (folder / "tgc.yaml").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
