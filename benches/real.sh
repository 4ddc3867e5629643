#!/usr/bin/env bash
# A thousand connectors on a real API server, from creation to deletion; fails where a figure is over its bar. Arguments are the benchmark's.
# OPERATOR names the program to measure; what drives it then need not be a release build of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
cleanup() { ../shared/envtest/down "$work/api" >/dev/null 2>&1 || true; rm -rf "$work"; }
trap cleanup EXIT
kubeconfig=$(../shared/envtest/up "$work/api")
profile=(${OPERATOR:+--profile dev})
cargo bench "${profile[@]}" --bench connectors -- --kubeconfig "$kubeconfig" --bars "$@"
