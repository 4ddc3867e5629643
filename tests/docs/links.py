#!/usr/bin/env python3
"""Checks the links of a site that mdBook built: a file or page is there, and has the anchor. Links to other hosts are checked for their form.

    tests/docs/links.py target/book
"""

import html.parser
import pathlib
import re
import sys
import urllib.parse

ATTRIBUTES = ("href", "src")


class Page(html.parser.HTMLParser):
    """Anchors and links of one page."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = {"", "top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ATTRIBUTES and value is not None:
                self.links.append((self.getpos()[0], value))


def complaint(site, page, link, pages):
    """What is wrong with a link, or None."""
    parts = urllib.parse.urlsplit(link)
    if parts.scheme in ("http", "https"):
        good = re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", parts.netloc, re.I)
        return None if good else "not an address"
    if parts.scheme or parts.netloc:
        return None if parts.scheme in ("data", "mailto") else "a scheme that pages do not use"
    target = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(site):
        return "leaves the site"
    if not target.is_file():
        return "no such file"
    if target.suffix == ".html" and urllib.parse.unquote(parts.fragment) not in pages[target].anchors:
        return "no such anchor"
    return None


def main():
    site = pathlib.Path(sys.argv[1]).resolve()
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    # All pages on one, whose links are those of the pages; and a page that lies at any path.
    checked = {path: page for path, page in pages.items() if path.name not in ("print.html", "404.html")}
    links = 0
    broken = []
    for path, page in checked.items():
        for line, link in page.links:
            links += 1
            if wrong := complaint(site, path, link, pages):
                broken.append(f"{path.relative_to(site)}:{line}: {link}: {wrong}")
    if len(checked) < 30 or links < 500:
        broken.append(f"only {len(checked)} pages with {links} links: is this the site?")
    index = next(site.glob("searchindex*.js"), None)
    if index is None or "TelegramConnector" not in index.read_text():
        broken.append("the site cannot be searched: no searchindex*.js")
    print("\n".join(broken), file=sys.stderr, end="\n" if broken else "")
    print(f"docs: {links} links of {len(checked)} pages, {len(broken)} broken")
    sys.exit(1 if broken else 0)


main()
