"""A model that speaks OpenAI's Chat Completions: what LiteLLM's proxy asks. Runs in LiteLLM's virtual environment.

    python openai_model.py PORT
"""
import json
import sys

import uvicorn
from fake_model import Counted, reply
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route


def text_of(content):
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def complete(request):
    body = await request.json()
    said = [text_of(message["content"]) for message in body["messages"] if message["role"] == "user"]

    def chunk(delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "echo", "choices": [choice]}
        return f"data: {json.dumps(event)}\n\n"

    async def chunks():
        async for words in reply(said):
            yield chunk({"role": "assistant", "content": words})
        yield chunk({}, "stop") + "data: [DONE]\n\n"

    return StreamingResponse(chunks(), media_type="text/event-stream")


app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
uvicorn.run(Counted(app), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
