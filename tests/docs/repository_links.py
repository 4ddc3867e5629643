#!/usr/bin/env python3
"""mdBook's preprocessor of docs/book.toml: links that leave docs/ lead to the repository.

Pages link to files beside docs/ with relative paths, which is right where the repository is read and leads nowhere in the site. With
output.html.git-repository-url (MDBOOK_OUTPUT__HTML__GIT_REPOSITORY_URL) they become links to it, else their text and the path.
"""

import json
import posixpath
import re
import sys

LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^ *(```|~~~)")


def outside(page, target):
    """The path from the repository's root, of a link that leaves docs/."""
    if re.match(r"[a-z][a-z0-9+.-]*:|#", target):
        return None
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return None if path.startswith("docs/") else path


def rewrite(content, page, repository):
    def link(found):
        path = outside(page, found["target"])
        if path is None:
            return found[0]
        if repository:
            return f"[{found['text']}]({repository.rstrip('/')}/{path})"
        bare = found["text"].strip("`")
        return f"`{path}`" if bare.rstrip("/") in (path, path.split("/", 1)[-1]) else f"{found['text']} (`{path}`)"

    lines, fenced = [], False
    for line in content.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced else LINK.sub(link, line))
    return "\n".join(lines)


def walk(items, repository):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            if chapter["path"]:
                chapter["content"] = rewrite(chapter["content"], chapter["source_path"], repository)
            walk(chapter["sub_items"], repository)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    html = context["config"].get("output", {}).get("html", {})
    walk(book["items"], html.get("git-repository-url"))
    json.dump(book, sys.stdout)


main()
