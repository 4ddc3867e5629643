#!/usr/bin/env bash
# Runs the benchmark `connectors` against a real API server; fails if a figure misses its limit. Arguments are passed to the benchmark.
# OPERATOR names the program to measure. The benchmark itself is then built with the dev profile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
cleanup() { ../shared/envtest/down "$work/api" >/dev/null 2>&1 || true; rm -rf "$work"; }
trap cleanup EXIT
kubeconfig=$(../shared/envtest/up "$work/api")
profile=(${OPERATOR:+--profile dev})
cargo bench "${profile[@]}" --bench connectors -- --kubeconfig "$kubeconfig" --bars "$@"
