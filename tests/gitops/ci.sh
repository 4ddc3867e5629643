#!/usr/bin/env bash
# What GitOps needs of us: Argo CD's health check of examples/gitops over every kind of status, as Argo CD would (`obj` in, a table with status and
# message out); and the chart with the data API applied again and again, as Argo CD and Flux do, while the operator writes its certificates.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python3 health.py
bash drift.sh
