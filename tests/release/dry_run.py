"""Makes a release on this machine: dry_run.py TOOLS ; everything but what needs a container engine, cosign or a forge, which stubs/ stands in for.

The registry is a real one on loopback, Helm and kubectl are real. OPERATOR is the binary, HELM the helm, KUBECTL_NEW a kubectl.
"""

import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest
import urllib.request

import jsonschema
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = ROOT / ".ci" / "release"
TOOLS = pathlib.Path(sys.argv[1])
VERSION = subprocess.run([SCRIPTS / "version.py"], check=True, capture_output=True, text=True).stdout.strip()
DOWNLOADS = f"https://forge.acme.example/bots/releases/download/v{VERSION}"
SOURCE = "https://forge.acme.example/bots"
HELM = os.environ["HELM"]


def run(*command, **options):
    """What the command prints; its errors fail the test."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def start_registry(work):
    config = {"version": 0.1, "log": {"level": "info"}, "storage": {"filesystem": {"rootdirectory": str(work / "registry")}}, "http": {"addr": "127.0.0.1:0"}}
    (work / "registry.yml").write_text(json.dumps(config))
    process = subprocess.Popen([TOOLS / "registry/usr/bin/docker-registry", "serve", work / "registry.yml"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in process.stderr:
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, found[1]
    raise AssertionError("the registry does not start")


class Release(unittest.TestCase):
    """One release, made as a workflow makes it; what is left of it is looked at."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.work = work = pathlib.Path(cls.folder.name)
        cls.dist, cls.log = work / "dist", work / "log"
        cls.binary = work / "binary"
        shutil.copy(os.environ["OPERATOR"], cls.binary)
        run("strip", cls.binary)
        run(ROOT / "tests/supply-chain/sbom.py", cls.dist)
        process, cls.registry = start_registry(work)
        cls.addClassCleanup(lambda: (process.terminate(), process.wait()))
        stubs = {"PATH": f"{HERE / 'stubs'}:{os.environ['PATH']}", "STUB_LOG": str(cls.log), "STUB_BINARY": str(cls.binary)}
        # Helm keeps its files where nothing of the user's is.
        own = {f"HELM_{kind}_HOME": str(work / "helm") for kind in ("CACHE", "CONFIG", "DATA")}
        cls.environment = {**os.environ, **stubs, **own}
        places = {"REGISTRY": cls.registry, "DOWNLOADS": DOWNLOADS, "SOURCE_URL": SOURCE, "HELM_PUSH_FLAGS": "--plain-http"}
        printed = run(SCRIPTS / "publish.sh", cls.dist, env={**cls.environment, **places})
        cls.outputs = dict(line.split("=", 1) for line in printed.splitlines())

    def helm(self, *arguments):
        return run(HELM, *arguments, env=self.environment)

    def test_outputs_name_image_and_chart_by_digest(self):
        self.assertEqual(set(self.outputs), {"image", "image_digest", "chart", "chart_digest"})
        self.assertEqual(self.outputs["image"], f"{self.registry}/telegram-connector-operator")
        url = f"http://{self.registry}/v2/charts/telegram-connector-operator/manifests/{VERSION}"
        request = urllib.request.Request(url, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        with urllib.request.urlopen(request) as answer:
            self.assertEqual(self.outputs["chart_digest"], answer.headers["Docker-Content-Digest"])

    def test_image_is_built_for_both_with_sbom_and_provenance(self):
        (build,) = [line for line in self.log.read_text().splitlines() if line.startswith("docker buildx build")]
        for word in ["--platform linux/amd64,linux/arm64", "--sbom=true", "--provenance=mode=max", f"--tag {self.outputs['image']}:{VERSION} --push"]:
            self.assertIn(word, build)

    def test_image_chart_and_checksums_are_signed_by_digest(self):
        signed = [line for line in self.log.read_text().splitlines() if line.startswith("cosign")]
        image = f"{self.outputs['image']}@{self.outputs['image_digest']}"
        self.assertEqual(signed[0], f"cosign sign --yes --recursive {image}")
        self.assertEqual(signed[1], f"cosign attest --yes --type cyclonedx --predicate {self.dist}/sbom.cdx.json {image}")
        self.assertEqual(signed[2], f"cosign sign --yes {self.outputs['chart']}@{self.outputs['chart_digest']}")
        self.assertEqual(signed[3:], [f"cosign sign-blob --yes --bundle {self.dist}/SHA256SUMS.sigstore.json {self.dist}/SHA256SUMS"])

    def test_checksums_cover_every_file(self):
        run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=self.dist)
        named = {line.split()[1] for line in (self.dist / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual(named, {path.name for path in self.dist.iterdir()} - {"SHA256SUMS", "SHA256SUMS.sigstore.json"})

    def test_chart_installs_from_the_registry_without_values(self):
        chart = f"oci://{self.registry}/charts/telegram-connector-operator"
        rendered = self.helm("template", "operator", chart, "--version", VERSION, "--plain-http")
        self.assertTrue(f"image: {self.registry}/telegram-connector-operator:{VERSION}\n" in rendered, "the image is another one")
        self.helm("install", "operator", chart, "--version", VERSION, "--plain-http", "--dry-run=client")
        shown = yaml.safe_load(self.helm("show", "chart", chart, "--version", VERSION, "--plain-http"))
        self.assertEqual((shown["version"], shown["appVersion"], shown["home"]), (VERSION, VERSION, SOURCE))

    def test_chart_tells_artifact_hub_its_image_and_examples(self):
        with tarfile.open(self.dist / f"telegram-connector-operator-{VERSION}.tgz") as archive:
            archive.extractall(self.work / "chart", filter="data")
        chart = self.work / "chart" / "telegram-connector-operator"
        run(sys.executable, HERE / "artifacthub.py", ROOT, chart, self.work)
        self.assertIn(f"image: {self.outputs['image']}:{VERSION}", (chart / "Chart.yaml").read_text())
        self.assertIn("1 TelegramConnector and 2 TelegramUserLists checked", run(self.binary, "check", self.work / "examples.yaml"))
        self.assertIn(f"oci://{self.registry}/charts/telegram-connector-operator --version {VERSION}", (chart / "README.md").read_text())

    def test_crds_file_is_what_the_binary_prints(self):
        def by_name(text):
            return {document["metadata"]["name"]: document for document in yaml.safe_load_all(text)}

        documents = by_name((self.dist / "crds.yaml").read_text())
        self.assertTrue(documents == by_name(run(self.binary, "crds")), "crds.yaml says otherwise")
        self.assertEqual(len(documents), 3)

    def test_sbom_is_cyclonedx(self):
        fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str((self.dist / "sbom.cdx.json").read_text())
        self.assertIsNone(fault)

    def test_plugin_manifest_is_what_krew_takes(self):
        manifest = yaml.safe_load((self.dist / "tgc.yaml").read_text())
        jsonschema.validate(manifest, json.loads((HERE / "krew.schema.json").read_text()))
        self.assertEqual([platform["selector"]["matchLabels"]["arch"] for platform in manifest["spec"]["platforms"]], ["amd64", "arm64"])
        for platform in manifest["spec"]["platforms"]:
            folder, _, file = platform["uri"].rpartition("/")
            self.assertEqual(folder, DOWNLOADS)
            self.assertEqual(platform["sha256"], hashlib.sha256((self.dist / file).read_bytes()).hexdigest())

    def test_plugin_works_once_installed_as_krew_does(self):
        platform = yaml.safe_load((self.dist / "tgc.yaml").read_text())["spec"]["platforms"][0]
        store, path = self.work / "krew", self.work / "krew-bin"
        with tarfile.open(self.dist / platform["uri"].rpartition("/")[2]) as archive:
            archive.extractall(store, filter="data")
        self.assertEqual({file.name for file in store.iterdir()}, {"LICENSE", "telegram-connector-operator", "third-party-licences.txt"})
        path.mkdir()
        (path / "kubectl-tgc").symlink_to(store / platform["bin"])
        kubectl = os.environ.get("KUBECTL_NEW", "kubectl")
        environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
        self.assertIn("0 errors", run(kubectl, "tgc", "check", ROOT / "examples/quickstart", env=environment))
        self.assertIn(VERSION, run(kubectl, "tgc", "--version", env=environment))

    def test_same_binary_gives_the_same_tarball(self):
        again = self.work / "again"
        again.mkdir()
        shutil.copy(self.dist / "third-party-licences.txt", again)
        run(SCRIPTS / "pack.py", self.binary, "amd64", again)
        name = f"telegram-connector-operator_{VERSION}_linux_amd64.tar.gz"
        self.assertEqual((again / name).read_bytes(), (self.dist / name).read_bytes())

    def test_binary_of_another_architecture_is_not_packed(self):
        done = subprocess.run([SCRIPTS / "pack.py", self.binary, "arm64", self.dist], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is no Linux binary for arm64", done.stderr)

    def test_github_release_has_every_file_and_marks_previews(self):
        log = self.work / "gh-log"
        for tag in [f"v{VERSION}", "v1.0.0-rc.1"]:
            with GitHistory() as history:
                history.commit("README.md", "docs: begin", tag)
                run(history.scripts / "github-release.sh", tag, self.dist, env={**self.environment, "STUB_LOG": str(log)}, cwd=history.folder)
        first, preview = log.read_text().splitlines()
        self.assertTrue(first.startswith(f"gh release create v{VERSION} ") and "--verify-tag" in first)
        for file in self.dist.iterdir():
            self.assertIn(f" {file} ", first)
        self.assertEqual((first.count("--prerelease"), preview.count("--prerelease")), (0, 1))

    def test_gitlab_release_uploads_every_file_and_links_it(self):
        with GitLab() as gitlab:
            notes = self.work / "notes.md"
            notes.write_text("What is new.")
            run(SCRIPTS / "gitlab-release.py", self.dist, notes, env=gitlab.environment)
        files = {path.name for path in self.dist.iterdir()}
        self.assertEqual({path for method, path, _, _ in gitlab.requests if method == "PUT"}, {f"/files/{name}" for name in files})
        method, path, token, body = gitlab.requests[-1]
        self.assertEqual((method, path, token), ("POST", "/api/v4/projects/7/releases", GitLab.TOKEN))
        release = json.loads(body)
        self.assertEqual((release["tag_name"], release["description"]), (f"v{VERSION}", "What is new."))
        self.assertEqual({link["name"] for link in release["assets"]["links"]}, files)

    def test_gitlab_refusal_is_told_without_the_token(self):
        with GitLab(status=403) as gitlab:
            command = [SCRIPTS / "gitlab-release.py", self.dist, self.dist / "crds.yaml"]
            done = subprocess.run(command, env=gitlab.environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("GitLab answers 403", done.stderr)
        self.assertNotIn(GitLab.TOKEN, done.stdout + done.stderr)


class Notes(unittest.TestCase):
    """Release notes of histories made for it."""

    def test_first_release_says_so(self):
        with GitHistory() as history:
            history.commit("README.md", "docs: begin", "v0.1.0")
            self.assertIn("The first release.", history.notes("v0.1.0"))

    def test_notes_list_the_commits_since_the_tag_before(self):
        with GitHistory() as history:
            history.commit("README.md", "docs: begin", "v0.1.0")
            history.commit("README.md", "telegram: send pictures")
            history.commit("README.md", "cli: add doctor", "v0.2.0")
            notes = history.notes("v0.2.0")
            self.assertIn("## Changes since v0.1.0\n\n- cli: add doctor\n- telegram: send pictures\n", notes)
            self.assertNotIn("docs: begin", notes)
            self.assertNotIn("**", notes)

    def test_notes_warn_of_a_changed_store_and_of_changed_crds(self):
        with GitHistory() as history:
            history.commit("README.md", "docs: begin", "v0.1.0")
            history.commit("src/store/sqlite/migrations/0001.sql", "store: add a table")
            history.commit("crds/connectors.yaml", "api: add a field", "v0.2.0")
            self.assertIn("**The schema of the store changes**", history.notes("v0.2.0"))
            self.assertIn("**The CRDs change**", history.notes("v0.2.0"))


class Version(unittest.TestCase):
    """The one place that the version is in."""

    def test_new_version_is_written_everywhere(self):
        with tempfile.TemporaryDirectory() as folder:
            files = run("git", "ls-files", "-z", cwd=ROOT)
            run("xargs", "-0", "cp", "--parents", "-t", folder, input=files, cwd=ROOT)
            copy = pathlib.Path(folder) / ".ci/release/version.py"
            run(copy, "set", "9.8.7-rc.1")
            run(copy, "check", "v9.8.7-rc.1")
            chart = yaml.safe_load((pathlib.Path(folder) / "charts/telegram-connector-operator/Chart.yaml").read_text())
            self.assertEqual((chart["version"], chart["appVersion"]), ("9.8.7-rc.1", "9.8.7-rc.1"))
            # Cargo accepts what was written to Cargo.lock.
            run("cargo", "metadata", "--locked", "--format-version", "1", cwd=folder)

    def test_tag_of_another_version_is_refused(self):
        done = subprocess.run([SCRIPTS / "version.py", "check", "v9.9.9"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the tag v9.9.9 is not v", done.stderr)


class GitHistory:
    """A repository with the release scripts and commits of its own."""

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        self.scripts = self.folder / ".ci/release"
        shutil.copytree(SCRIPTS, self.scripts, ignore=shutil.ignore_patterns("__pycache__"))
        self.git("init", "--quiet")
        return self

    def __exit__(self, *_):
        self.temporary.cleanup()

    def git(self, *arguments):
        return run("git", "-c", "user.name=Ann", "-c", "user.email=ann@acme.example", *arguments, cwd=self.folder)

    def commit(self, file, subject, tag=None):
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.read_text() if path.exists() else ''}{subject}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", subject)
        if tag:
            self.git("tag", tag)

    def notes(self, tag):
        return run(self.scripts / "notes.sh", tag)


class GitLab:
    """The two calls of GitLab's API that a release makes, on loopback."""

    TOKEN = "job-token-of-the-test"

    def __init__(self, status=201):
        requests = []
        self.requests = requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def take(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((self.command, self.path, self.headers["JOB-TOKEN"], body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_POST = take

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        base = f"http://127.0.0.1:{self.server.server_port}"
        given = {"CI_API_V4_URL": f"{base}/api/v4", "CI_PROJECT_ID": "7", "CI_COMMIT_TAG": f"v{VERSION}", "CI_JOB_TOKEN": self.TOKEN, "DOWNLOADS": f"{base}/files"}
        self.environment = {**os.environ, **given, "no_proxy": "127.0.0.1"}

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
