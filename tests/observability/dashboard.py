#!/usr/bin/env python3
"""The chart's dashboard and alerts, evaluated by a Prometheus that scrapes a running operator.

    dashboard.py check PROMETHEUS-URL              every expression of the dashboard and of the alerts is evaluated: none may fail
    dashboard.py draw PROMETHEUS-URL MINUTES PNG   draws the dashboard's panels from the same queries; needs matplotlib

The picture in docs/ was drawn by it: Grafana renders the same panels from the same queries.
"""

import json
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts" / "telegram-connector-operator" / "files"
# Only where an operator makes the certificates of its data API; that their names are right, `cargo test --test manifests` says.
OF_THE_DATA_API = re.compile(r"telegram_connector_operator_data_api_")
JOB, RATE_INTERVAL, STEP = "telegram-connector-operator", "1m", 5


def ask(prometheus, path, **parameters):
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error)["error"]) from error


def panels():
    return json.loads((CHART / "dashboards" / "telegram-connector-operator.json").read_text())["panels"]


def filled(expression):
    """With the dashboard's variables, as Grafana fills them in."""
    return expression.replace("$job", JOB).replace("$__rate_interval", RATE_INTERVAL)


def alerts():
    """Name and expression, by text, so that Python alone is enough."""
    text = (CHART / "alerts.yaml").read_text()
    for rule in re.split(r"^- ", text, flags=re.M)[1:]:
        name = re.search(r"alert: (\S+)", rule).group(1)
        block = re.search(r"^  expr: \|\n((?:    .*\n)+)", rule, re.M)
        yield name, block.group(1) if block else re.search(r"^  expr: (.*)$", rule, re.M).group(1)


def check(prometheus):
    expressions = [(panel["title"], filled(target["expr"])) for panel in panels() for target in panel["targets"]]
    expressions += list(alerts())
    failed, with_data = 0, 0
    for name, expression in expressions:
        try:
            with_data += bool(ask(prometheus, "query", query=expression))
            for metric in set(re.findall(r"telegram_connector_operator_\w+", expression)):
                # A family without a sample yet is not printed: it has to be known by its metadata.
                family = re.sub(r"_(total|bucket|count|sum)$", "", metric)
                known = ask_metadata(prometheus)
                if not {family, metric} & known and not OF_THE_DATA_API.match(metric):
                    raise ValueError(f"no metric {metric} is scraped")
        except ValueError as error:
            print(f"FAILED: {name}: {error}: {expression}", file=sys.stderr)
            failed += 1
    print(f"observability: {len(expressions)} expressions evaluated, {with_data} with data now, {failed} failed")
    return failed > 0


def ask_metadata(prometheus, cache={}):
    if prometheus not in cache:
        with urllib.request.urlopen(f"{prometheus}/api/v1/targets/metadata", timeout=30) as answer:
            cache[prometheus] = {found["metric"] for found in json.load(answer)["data"]}
    return cache[prometheus]


def legend(template, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found.group(1), ""), template or "").strip()


def short(value, unit):
    if unit == "s" and value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.3g}" + (" s" if unit == "s" else "")


def draw(prometheus, minutes, png):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.dates as dates
    import matplotlib.pyplot as plt
    from datetime import datetime, timezone

    plt.rcParams.update({"font.size": 7, "axes.prop_cycle": plt.cycler(color=plt.get_cmap("tab10").colors)})
    end = time.time()
    start = end - float(minutes) * 60
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels())
    figure = plt.figure(figsize=(13, height * 0.36), facecolor="#f4f5f5")
    for panel in panels():
        at, unit = panel["gridPos"], panel["fieldConfig"]["defaults"].get("unit")
        box = [(at["x"] + 0.65) / 24.4, 1 - (at["y"] + at["h"] - 1.0) / height, (at["w"] - 1.0) / 24.4, (at["h"] - 2.0) / height]
        axes = figure.add_axes(box, facecolor="white")
        axes.set_title(panel["title"], loc="left", fontsize=8, fontweight="bold", pad=4)
        if panel["type"] == "stat":
            found = ask(prometheus, "query", query=filled(panel["targets"][0]["expr"]), time=end)
            axes.text(0.5, 0.45, short(float(found[0]["value"][1]), unit) if found else "No data", ha="center", va="center", fontsize=20, color="#1f7a3a")
            axes.set_xticks([]), axes.set_yticks([])
            continue
        drawn = 0
        for target in panel["targets"]:
            for series in ask(prometheus, "query_range", query=filled(target["expr"]), start=start, end=end, step=STEP):
                points = [(datetime.fromtimestamp(at, timezone.utc), float(value)) for at, value in series["values"] if value != "NaN"]
                if points:
                    axes.plot(*zip(*points), linewidth=1, label=legend(target.get("legendFormat"), series["metric"]) or None)
                    drawn += 1
        if drawn:
            axes.legend(loc="upper left", fontsize=5.5, ncols=2 if drawn > 4 else 1, framealpha=0.6)
            axes.set_ylim(bottom=0)
            axes.set_xlim(datetime.fromtimestamp(start, timezone.utc), datetime.fromtimestamp(end, timezone.utc))
            axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
            axes.yaxis.set_major_formatter(lambda value, _: short(value, unit))
            axes.grid(alpha=0.3)
        else:
            axes.text(0.5, 0.5, "No data", ha="center", va="center", color="grey")
            axes.set_xticks([]), axes.set_yticks([])
    figure.savefig(png, dpi=90)
    print(f"{png}: {pathlib.Path(png).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    commands = {"check": check, "draw": draw}
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
