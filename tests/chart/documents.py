#!/usr/bin/env python3
"""Takes a stream of YAML documents apart, by text, so that it needs Python alone.

documents.py short KIND      prints the stream with just the metadata of documents of this kind
documents.py only KIND       prints the documents of this kind
documents.py names           prints kind/namespace/name of each document
documents.py split FOLDER    writes each document into a file of the folder
"""

import pathlib
import re
import shutil
import sys


def documents(text):
    for document in re.split(r"^---\s*$", text, flags=re.M):
        if re.search(r"^kind:", document, flags=re.M):
            yield document.strip("\n") + "\n"


def main(command, argument=None):
    found = list(documents(sys.stdin.read()))
    if command == "short":
        long = re.compile(rf"^kind: {argument}$", flags=re.M)
        print("---\n".join(d.split("\nspec:\n")[0] + "\n" if long.search(d) else d for d in found), end="")
    elif command == "only":
        wanted = re.compile(rf"^kind: {argument}$", flags=re.M)
        print("---\n".join(d for d in found if wanted.search(d)), end="")
    elif command == "names":
        for document in found:
            # The first of each is the document's own: what is nested is indented further.
            kind, name, namespace = (
                re.search(rf"^{indent}{field}: *(\S*)", document, flags=re.M) for indent, field in (("", "kind"), ("  ", "name"), ("  ", "namespace"))
            )
            print(f"{kind[1]}/{namespace[1] if namespace else ''}/{name[1]}")
    elif command == "split":
        folder = pathlib.Path(argument)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, document in enumerate(found):
            (folder / f"{number:03}.yaml").write_text(document)


if __name__ == "__main__":
    main(*sys.argv[1:3])
