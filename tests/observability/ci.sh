#!/usr/bin/env bash
# The alerts fire when they should (promtool); and a Prometheus (Debian's package) scrapes a running operator and evaluates every expression of
# the dashboard and of the alerts: none fails, and every metric in them is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v prometheus >/dev/null || { echo "observability: no prometheus here: install Debian's package" >&2; exit 1; }
OPERATOR=${OPERATOR:-target/debug/telegram-connector-operator}
work=$(mktemp -d)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap cleanup EXIT
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
within() { # seconds, command...: polls until it succeeds
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.2; done
}
admin=127.0.0.1:$(free_port) telegram=127.0.0.1:$(free_port) prometheus=127.0.0.1:$(free_port)

{ printf 'groups:\n- name: alerts\n  rules:\n'; sed 's/^/  /' charts/telegram-connector-operator/files/alerts.yaml; } >"$work/rules.yaml"
promtool check rules "$work/rules.yaml" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
cp tests/observability/alerts.test.yaml "$work"
promtool test rules "$work/alerts.test.yaml" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
echo "observability: each alert fires when it should, and none on a day like any other"

"$OPERATOR" dev --admin-listen "$admin" --telegram-listen "$telegram" --log-level warn </dev/null >"$work/dev" 2>&1 & started+=($!)
within 20 curl -sf "http://$admin/readyz"
curl -sf "http://$telegram/control/say" -H 'content-type: application/json' -d '{"bot": 7000001, "from": 1001, "text": "Hello"}' >/dev/null
within 20 sh -c "curl -s http://$telegram/control/bots/7000001/sent | grep -q 'You said'"
printf 'global: {scrape_interval: 1s}\nscrape_configs: [{job_name: telegram-connector-operator, static_configs: [{targets: ["%s"]}]}]\n' "$admin" >"$work/prometheus.yml"
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --web.listen-address="$prometheus" --log.level=error >"$work/log" 2>&1 & started+=($!)
scraped() { curl -sf "http://$prometheus/api/v1/query" --data-urlencode 'query=telegram_connector_operator_queue_depth' | grep -q '"value"'; }
within 20 scraped
python3 tests/observability/dashboard.py check "http://$prometheus"
