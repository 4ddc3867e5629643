"""An agent on PyPI's strands-agents, served by its own A2A server: the peer of `foreign.rs`.

    python strands_agent.py PORT legacy|compliant

`legacy` is the server's default: it tells the answer in the messages of its progress, a piece each, and once more as an artifact.
"""
import sys

import uvicorn
from fake_model import Counted, reply
from strands import Agent
from strands.models import Model
from strands.multiagent.a2a import A2AServer

PORT, MODE = int(sys.argv[1]), sys.argv[2]


class FakeModel(Model):
    def get_config(self):
        return {}

    def update_config(self, **_):
        pass

    def structured_output(self, *_, **__):
        raise NotImplementedError

    async def stream(self, messages, *_, **__):
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        said = [block["text"] for message in messages if message["role"] == "user" for block in message["content"]]
        async for words in reply(said):
            yield {"contentBlockDelta": {"delta": {"text": words}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}


def agent(_context):
    return Agent(name="Peer", description="Repeats what it is told.", model=FakeModel(), callback_handler=None)


server = A2AServer(agent_factory=agent, port=PORT, enable_a2a_compliant_streaming=MODE == "compliant")
uvicorn.run(Counted(server.to_starlette_app()), host="127.0.0.1", port=PORT, log_level="warning")
