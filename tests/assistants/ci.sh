#!/bin/sh
# Called by .ci/run.
exec "$(dirname "$0")/foreign.sh"
