#!/usr/bin/env python3
"""Packs a binary with its licences: FOLDER/telegram-connector-operator_VERSION_linux_ARCH.tar.gz, the same bytes from the same files.

    .ci/release/pack.py BINARY ARCH FOLDER

FOLDER has third-party-licences.txt (tests/supply-chain/sbom.py writes it). Needs Python alone.
"""

import gzip
import pathlib
import sys
import tarfile

import version

NAME = "telegram-connector-operator"
MACHINES = {"amd64": 0x3E, "arm64": 0xB7}


def check_architecture(binary, arch):
    """An ELF file says for which machine it is: e_machine, at offset 18."""
    with open(binary, "rb") as file:
        header = file.read(20)
    if header[:4] != b"\x7fELF" or int.from_bytes(header[18:20], "little") != MACHINES[arch]:
        sys.exit(f"{binary} is no Linux binary for {arch}")


def add(archive, path, name, mode):
    info = tarfile.TarInfo(name)
    info.size, info.mode = path.stat().st_size, mode
    with path.open("rb") as file:
        archive.addfile(info, file)


def main(binary, arch, folder):
    check_architecture(binary, arch)
    folder = pathlib.Path(folder)
    packed = folder / f"{NAME}_{version.workspace()['package']['version']}_linux_{arch}.tar.gz"
    with packed.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        add(archive, pathlib.Path(binary), NAME, 0o755)
        add(archive, version.ROOT / "LICENSE", "LICENSE", 0o644)
        add(archive, folder / "third-party-licences.txt", "third-party-licences.txt", 0o644)
    print(packed)


if __name__ == "__main__":
    main(*sys.argv[1:])
