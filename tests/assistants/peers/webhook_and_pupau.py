"""The model of `fake_model.py` behind the protocols Webhook (`POST /webhook`) and Pupau (the rest).

    python webhook_and_pupau.py PORT
"""
import json
import sys

import uvicorn
from fake_model import Counted, reply
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


def events(asked, field):
    async def stream():
        async for words in reply([asked]):
            yield f"data: {json.dumps({field: words})}\n\n"
        if field == "text":
            yield "data: [DONE]\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


async def webhook(request):
    return events((await request.json())["text"], "text")


async def begin(_):
    return JSONResponse({"id": 7, "token": "opens-conversation-7"})


async def query(request):
    return events((await request.json())["request"], "message")


app = Starlette(routes=[
    Route("/webhook", webhook, methods=["POST"]),
    Route("/chat-bots/bot-1/conversations", begin, methods=["POST"]),
    Route("/chat-bots/bot-1/conversations/7/queries", query, methods=["POST"]),
])
uvicorn.run(Counted(app), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
