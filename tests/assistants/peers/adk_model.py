"""A model for Google's ADK that needs no network, and an agent on it with a tool that asks for confirmation: what `adk_agent.py`
and `kagent_agent.py` serve.
"""
from fake_model import reply
from google.adk.models import BaseLlm, LlmResponse
from google.genai import types

FILES = [(b"\x89PNG\r\n\x1a\n" + bytes(20), "image/png"), (b"%PDF-1.7\n", "application/pdf")]


class FakeModel(BaseLlm):
    model: str = "fake"

    async def generate_content_async(self, llm_request, stream=False):
        last = llm_request.contents[-1].parts[-1]
        if last.function_response:
            deleted = last.function_response.response == {"result": "deleted"}
            yield answer("Deleted." if deleted else "Nothing was deleted.")
            return
        said = [part.text for content in llm_request.contents if content.role == "user" for part in content.parts if part.text]
        if said[-1].startswith("delete "):
            call = types.Part.from_function_call(name="delete_pod", args={"name": said[-1].removeprefix("delete ")})
            yield LlmResponse(content=types.Content(role="model", parts=[call]))
            return
        if said[-1] == "a picture and a report":
            shown = [types.Part(text="Here they are."), *(types.Part.from_bytes(data=data, mime_type=kind) for data, kind in FILES)]
            yield LlmResponse(content=types.Content(role="model", parts=shown))
            return
        whole = ""
        async for words in reply(said):
            whole += words
            if stream:
                yield answer(words, partial=True)
        yield answer(whole)


def answer(words, partial=None):
    return LlmResponse(content=types.Content(role="model", parts=[types.Part(text=words)]), partial=partial)


def delete_pod(name: str) -> str:
    """Deletes a pod."""
    return "deleted"
