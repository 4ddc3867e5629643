"""An agent on PyPI's google-adk, served by its own `to_a2a`: the peer of `foreign.rs`.

    python adk_agent.py PORT
"""
import sys

import uvicorn
from adk_model import FakeModel, delete_pod
from fake_model import Counted
from google.adk.a2a.utils.agent_to_a2a import to_a2a
from google.adk.agents import LlmAgent
from google.adk.tools import FunctionTool

PORT = int(sys.argv[1])
agent = LlmAgent(
    name="peer", description="Repeats what it is told.", model=FakeModel(), tools=[FunctionTool(delete_pod, require_confirmation=True)]
)
uvicorn.run(Counted(to_a2a(agent, host="127.0.0.1", port=PORT)), host="127.0.0.1", port=PORT, log_level="warning")
