#!/usr/bin/env python3
"""The chart's rendered roles without one right: without.py RESOURCE:VERB <roles. Without an argument: every right, one a line."""

import re
import sys

text = sys.stdin.read()
rule = re.compile(r"(  - apiGroups: \[.*\]\n)    resources: \[(.*)\]\n    verbs: \[(.*)\]\n")
if len(sys.argv) < 2:
    for _, resources, verbs in rule.findall(text):
        for resource in resources.split(", "):
            for verb in verbs.split(", "):
                print(f"{resource}:{verb}")
else:
    lost_resource, lost_verb = sys.argv[1].split(":")

    def split(found):
        group, resources, verbs = found.groups()
        parts = []
        for resource in resources.split(", "):
            kept = [verb for verb in verbs.split(", ") if (resource, verb) != (lost_resource, lost_verb)]
            if kept:
                parts.append(f"{group}    resources: [{resource}]\n    verbs: [{', '.join(kept)}]\n")
        return "".join(parts)

    print(rule.sub(split, text), end="")
