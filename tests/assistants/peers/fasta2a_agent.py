"""An agent on pydantic-ai, served by PyPI's fasta2a, of version 0.6 or 2.x as installed: the peer of `foreign.rs`.

    python fasta2a_agent.py PORT

Both versions work on one task after the other and hear of a cancelled task without ending it.
"""
import sys

import uvicorn
from fake_model import Counted, reply
from fasta2a.pydantic_ai import agent_to_a2a
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import FunctionModel

PORT = int(sys.argv[1])


def said(messages):
    return [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]


async def whole(messages, _):
    return ModelResponse(parts=[TextPart("".join([words async for words in reply(said(messages))]))])


async def pieces(messages, _):
    async for words in reply(said(messages)):
        yield words


app = agent_to_a2a(Agent(FunctionModel(whole, stream_function=pieces), name="peer"), url=f"http://127.0.0.1:{PORT}")
uvicorn.run(Counted(app), host="127.0.0.1", port=PORT, log_level="warning")
