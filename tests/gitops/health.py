"""Runs health.lua over statuses as the operator writes them."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent / "../../examples/gitops/argocd"


def lua(value):
    """A value as a Lua literal."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "{" + ", ".join(map(lua, value)) + "}"
    return "{" + ", ".join(f'["{k}"] = {lua(v)}' for k, v in value.items()) + "}"


def connector(conditions, generation=1, observed=1, suspend=False):
    status = {"observedGeneration": observed, "conditions": conditions} if conditions is not None else None
    return {"metadata": {"generation": generation}, "spec": {"suspend": suspend}, "status": status}


def condition(kind, status, reason="R"):
    return {"type": kind, "status": status, "reason": reason, "message": f"why {kind} is {status}"}


ready, not_ready = condition("Ready", "True"), condition("Ready", "False")
CASES = [
    ("no status yet", connector(None), "Progressing"),
    ("a status without conditions", {"metadata": {"generation": 1}, "spec": {}, "status": {}}, "Progressing"),
    ("Ready", connector([condition("TokenValid", "True"), ready]), "Healthy"),
    ("Ready, but of an older generation", connector([ready], generation=2), "Progressing"),
    ("Ready, the assistant failing", connector([condition("AssistantReady", "False"), ready]), "Healthy"),
    ("connecting", connector([condition("Reconciling", "True"), not_ready]), "Progressing"),
    ("stalled", connector([condition("Stalled", "True"), not_ready]), "Degraded"),
    ("not Ready and nobody at it", connector([not_ready]), "Degraded"),
    ("suspended", connector([condition("Ready", "False", "Suspended")], suspend=True), "Suspended"),
    ("suspended before any status", connector(None, suspend=True), "Suspended"),
    ("a list in order", {"metadata": {"generation": 3}, "spec": {"users": []}, "status": connector([ready], 3, 3)["status"]}, "Healthy"),
    ("a list with entries that name nobody", connector([condition("Stalled", "True"), not_ready]), "Degraded"),
]


def run(script, obj):
    program = f"local function check(obj)\n{script}\nend\nlocal hs = check({lua(obj)})\nprint(hs.status)\nprint(hs.message)"
    done = subprocess.run(["lua5.4", "-"], input=program, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lua5.4: {done.stderr}")
    status, message = done.stdout.splitlines()
    return status, message


failed = 0
for what, obj, expected in CASES:
    status, message = run((ROOT / "health.lua").read_text(), obj)
    if status != expected or message == "nil":
        print(f"FAILED: {what}: {status} ({message}), not {expected}")
        failed += 1
print(f"health.lua: {len(CASES)} statuses, {failed} failed")
sys.exit(failed > 0)
