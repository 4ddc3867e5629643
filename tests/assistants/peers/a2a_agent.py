"""A small agent on PyPI's a2a-sdk, of version 0.3 or 1.x as installed: the peer of `foreign.rs`.

    python a2a_agent.py PORT streaming|waiting
"""
import sys
from importlib.metadata import version

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentSkill, Part

PORT, STREAMING = int(sys.argv[1]), sys.argv[2] == "streaming"
V1 = version("a2a-sdk").startswith("1.")
messages = {}

if V1:
    from a2a.helpers import new_task_from_user_message as new_task

    def text(words):
        return Part(text=words)
else:
    from a2a.types import TextPart
    from a2a.utils import new_task

    def text(words):
        return Part(root=TextPart(text=words))


class Agent(AgentExecutor):
    async def execute(self, context, events):
        asked, going_on = context.get_user_input(), context.current_task is not None
        task = context.current_task or new_task(context.message)
        if not going_on:
            await events.enqueue_event(task)
        updater = TaskUpdater(events, task.id, task.context_id)
        await updater.start_work(updater.new_agent_message([text("working on it")]))
        messages[task.context_id] = messages.get(task.context_id, 0) + 1
        if asked == "fail":
            raise RuntimeError("it fails as asked")
        if asked == "book a table":
            return await updater.requires_input(updater.new_agent_message([text("For which day?")]))
        words = f"Booked for {asked}." if going_on else f"You said: {asked}"
        await updater.add_artifact([text(words)], artifact_id="answer", append=False, last_chunk=False)
        await updater.add_artifact([text(f" (message {messages[task.context_id]})")], artifact_id="answer", append=True, last_chunk=True)
        await updater.complete()

    async def cancel(self, context, events):
        raise NotImplementedError


card = dict(
    name="Peer", description="Repeats what it is told.", version="1", default_input_modes=["text"], default_output_modes=["text"],
    capabilities=AgentCapabilities(streaming=STREAMING),
    skills=[AgentSkill(id="repeat", name="Repeat", description="Repeats", tags=["test"])],
)
# As many agents do, the card names an address at which only the agent itself is reached.
URL = "http://localhost:1/rpc"
if V1:
    from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
    from a2a.types import AgentInterface
    from starlette.applications import Starlette

    card = AgentCard(supported_interfaces=[AgentInterface(url=URL, protocol_binding="JSONRPC", protocol_version="1.0")], **card)
    handler = DefaultRequestHandler(agent_executor=Agent(), task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(routes=create_agent_card_routes(card) + create_jsonrpc_routes(handler, "/rpc"))
else:
    from a2a.server.apps import A2AStarletteApplication

    card = AgentCard(url=URL, **card)
    handler = DefaultRequestHandler(agent_executor=Agent(), task_store=InMemoryTaskStore())
    app = A2AStarletteApplication(card, handler).build(rpc_url="/rpc")
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
