"""An agent on PyPI's kagent-adk, served as kagent serves a declarative agent that streams, with its sessions in memory: the peer of
`foreign.rs`.

    python kagent_agent.py PORT
"""
import sys

import uvicorn
from a2a.types import AgentCapabilities, AgentCard
from adk_model import FakeModel, delete_pod
from fake_model import Counted
from google.adk.agents import LlmAgent
from kagent.adk import KAgentApp
from kagent.adk._approval import make_approval_callback, strip_confirmation_parts_callback

PORT = int(sys.argv[1])


def agent():
    return LlmAgent(
        name="peer", description="Repeats what it is told.", model=FakeModel(), tools=[delete_pod],
        before_tool_callback=make_approval_callback({"delete_pod"}), before_model_callback=strip_confirmation_parts_callback,
    )


card = AgentCard(
    name="peer", description="Repeats what it is told.", url=f"http://127.0.0.1:{PORT}", version="1", skills=[],
    default_input_modes=["text"], default_output_modes=["text"], capabilities=AgentCapabilities(streaming=True),
)
app = KAgentApp(agent, card, "http://127.0.0.1:1", "peer", stream=True).build(local=True)
uvicorn.run(Counted(app), host="127.0.0.1", port=PORT, log_level="warning")
