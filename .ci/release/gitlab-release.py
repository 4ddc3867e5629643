#!/usr/bin/env python3
"""Uploads a folder to GitLab's generic packages and makes the release of the tag that links to them.

    .ci/release/gitlab-release.py FOLDER NOTES

DOWNLOADS is the URL to upload to; CI_API_V4_URL, CI_PROJECT_ID, CI_COMMIT_TAG and CI_JOB_TOKEN are in every GitLab job. Needs Python alone.
"""

import json
import os
import pathlib
import sys
import urllib.error
import urllib.request


def send(method, url, body, content_type="application/octet-stream"):
    headers = {"JOB-TOKEN": os.environ["CI_JOB_TOKEN"], "Content-Type": content_type}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=300):
            pass
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: GitLab answers {error.code}")
    except urllib.error.URLError as error:
        sys.exit(f"{method} {url}: {error.reason}")


def main(folder, notes):
    project = f"{os.environ['CI_API_V4_URL']}/projects/{os.environ['CI_PROJECT_ID']}"
    tag = os.environ["CI_COMMIT_TAG"]
    links = []
    for file in sorted(path for path in pathlib.Path(folder).iterdir() if path.is_file()):
        url = f"{os.environ['DOWNLOADS']}/{file.name}"
        send("PUT", url, file.read_bytes())
        links.append({"name": file.name, "url": url, "link_type": "package"})
    release = {"tag_name": tag, "name": tag, "description": pathlib.Path(notes).read_text(), "assets": {"links": links}}
    send("POST", f"{project}/releases", json.dumps(release).encode(), "application/json")
    print(f"release {tag} with {len(links)} files")


if __name__ == "__main__":
    main(*sys.argv[1:])
