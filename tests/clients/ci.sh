#!/usr/bin/env bash
# What .ci/run calls.
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh"
