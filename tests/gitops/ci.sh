#!/usr/bin/env bash
# Runs Argo CD's health check of examples/gitops over every kind of status, as Argo CD would: `obj` in, a table with status and message out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python3 health.py
