"""A small agent on PyPI's a2a-sdk, of version 0.2, 0.3 or 1.x as installed: the peer of `foreign.rs`.

    python a2a_agent.py PORT streaming|waiting|wrong-card

With `wrong-card` the public card says that the agent streams, and the agent answers a stream with -32004.
"""
import sys
from importlib.metadata import version

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentSkill, Part
from fake_model import Counted, reply

PORT, MODE = int(sys.argv[1]), sys.argv[2]
V1 = version("a2a-sdk").startswith("1.")
# What the user said in each conversation, and the tasks that nobody waits for any more.
conversations, cancelled = {}, set()

if V1:
    from a2a.helpers import new_task_from_user_message as new_task

    def text(words):
        return Part(text=words)

    def piece(name, media_type, content):
        return Part(raw=content, filename=name, media_type=media_type)
else:
    from base64 import b64encode

    from a2a.types import FilePart, FileWithBytes, TextPart
    from a2a.utils import new_task

    def text(words):
        return Part(root=TextPart(text=words))

    def piece(name, media_type, content):
        return Part(root=FilePart(file=FileWithBytes(bytes=b64encode(content).decode(), name=name, mime_type=media_type)))


class Agent(AgentExecutor):
    async def execute(self, context, events):
        asked, going_on = context.get_user_input(), context.current_task is not None
        task = context.current_task or new_task(context.message)
        if not going_on:
            await events.enqueue_event(task)
        updater = TaskUpdater(events, task.id, task.context_id)
        await updater.start_work(updater.new_agent_message([text("working on it")]))
        said = conversations.setdefault(task.context_id, [])
        said.append(asked)
        if asked == "fail":
            raise RuntimeError("it fails as asked")
        if asked == "book a table":
            return await updater.requires_input(updater.new_agent_message([text("For which day?")]))
        if asked == "order 17":
            return await updater.failed(updater.new_agent_message([text("Order 17 does not exist.")]))
        if asked == "two drafts":
            for draft in ("First draft.", "Last draft."):
                await updater.add_artifact([text(draft)], artifact_id="answer", append=False, last_chunk=True)
            return await updater.complete()
        if asked == "a table":
            await updater.add_artifact([text("Your table:")], artifact_id="answer", last_chunk=True)
            for append, last, content in ((False, False, b"a,b\n"), (True, False, b"1,2\n"), (True, True, b"3,4\n")):
                part = piece("table.csv", "text/csv", content)
                await updater.add_artifact([part], artifact_id="table", append=append, last_chunk=last)
            return await updater.complete()
        if going_on:
            await updater.add_artifact([text(f"Booked for {asked}. (message {len(said)})")], artifact_id="answer")
            return await updater.complete()
        append = False
        async for words in reply(said, lambda: task.id in cancelled):
            await updater.add_artifact([text(words)], artifact_id="answer", append=append, last_chunk=False)
            append = True
        if task.id not in cancelled:
            await updater.complete()

    async def cancel(self, context, events):
        cancelled.add(context.task_id)
        await TaskUpdater(events, context.task_id, context.context_id).cancel()


def card(streaming):
    # As many agents do, the card names an address at which only the agent itself is reached.
    url = "http://localhost:1/rpc"
    skill = AgentSkill(id="repeat", name="Repeat", description="Repeats", tags=["test"])
    fields = dict(
        name="Peer", description="Repeats what it is told.", version="1", default_input_modes=["text"], default_output_modes=["text"],
        capabilities=AgentCapabilities(streaming=streaming), skills=[skill],
    )
    if not V1:
        return AgentCard(url=url, **fields)
    from a2a.types import AgentInterface

    return AgentCard(supported_interfaces=[AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version="1.0")], **fields)


own_card, public_card = card(MODE == "streaming"), card(MODE in ("streaming", "wrong-card"))
if V1:
    from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
    from starlette.applications import Starlette

    handler = DefaultRequestHandler(agent_executor=Agent(), task_store=InMemoryTaskStore(), agent_card=own_card)
    app = Starlette(routes=create_agent_card_routes(public_card) + create_jsonrpc_routes(handler, "/rpc"))
else:
    from a2a.server.apps import A2AStarletteApplication

    handler = DefaultRequestHandler(agent_executor=Agent(), task_store=InMemoryTaskStore())
    options = {"card_modifier": lambda _: public_card} if MODE == "wrong-card" else {}
    app = A2AStarletteApplication(own_card, handler, **options).build(rpc_url="/rpc")
uvicorn.run(Counted(app), host="127.0.0.1", port=PORT, log_level="warning")
