"""The model behind every agent of these tests, whatever framework serves it, and what it counts. It needs nothing beyond Python.

`GET /counts` of a peer tells: `asked`, the questions in the order in which they came; `stopped`, how many answers were cut before
their end; `cancels`, how many requests to cancel a task arrived.
"""
import asyncio
import json

counts = {"asked": [], "stopped": 0, "cancels": 0}

CANCEL_METHODS = {"tasks/cancel", "CancelTask"}


async def reply(texts, cancelled=lambda: False):
    """The answer to the last of the user's messages of this session, in pieces; `cancelled` is asked between them."""
    asked = texts[-1]
    counts["asked"].append(asked)
    done = False
    try:
        if asked == "count":
            for number in range(1, 81):
                if cancelled():
                    return
                yield f"{number} "
                await asyncio.sleep(0.1)
        elif asked == "book":
            yield "Booking your flight. "
            await asyncio.sleep(65)  # a tool runs
            yield "Booked."
        elif asked == "think":
            await asyncio.sleep(65)
            yield "I have thought."
        else:
            yield f"You said: {asked}"
            yield f" (message {len(texts)})"
        done = True
    finally:
        counts["stopped"] += not done


class Counted:
    """An ASGI application that counts the requests to cancel a task, and answers `GET /counts`."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["path"] == "/counts":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            return await send({"type": "http.response.body", "body": json.dumps(counts).encode()})
        body = b""

        async def read():
            nonlocal body
            message = await receive()
            if message["type"] == "http.request":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    counts["cancels"] += is_cancel(body)
            return message

        await self.app(scope, read, send)


def is_cancel(body):
    try:
        return json.loads(body).get("method") in CANCEL_METHODS
    except (ValueError, AttributeError):
        return False
