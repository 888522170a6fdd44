"""The official OpenAI client against a node: prints what it saw as one JSON object.

Takes the node from OPENAI_BASE_URL and OPENAI_API_KEY, as the client itself does. `chat` asks one
question whole and in pieces; `mistakes` names the exception that each mistake raises.
"""

import json
import sys

import openai

client = openai.OpenAI(max_retries=0, timeout=60)
model = next(it.id for it in client.models.list())
question = {
    "model": model,
    "messages": [{"role": "user", "content": "hello"}],
    "temperature": 0,
    "max_tokens": 12,
}


def chat():
    raw = client.chat.completions.with_raw_response.create(**question)
    whole = raw.parse()
    pieces, usage = [], None
    stream = client.chat.completions.create(
        **question, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
        usage = chunk.usage or usage
    return {
        "whole": whole.choices[0].message.content,
        "streamed": "".join(pieces),
        "completion_tokens": usage.completion_tokens,
        "node": raw.headers.get("x-sedge-node-name"),
    }


def raised(call):
    try:
        call()
    except openai.APIStatusError as error:
        return " ".join(filter(None, [type(error).__name__, error.code]))
    return "nothing"


def mistakes():
    stranger = client.with_options(api_key="sedge-wrong")
    create = client.chat.completions.create
    long = [{"role": "user", "content": "word " * 20000}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    return {
        "wrong_key": raised(lambda: stranger.models.list()).split()[0],
        "unknown_model": raised(lambda: create(**{**question, "model": "gpt-4o"})),
        "too_long": raised(lambda: create(**{**question, "messages": long})),
        "tools": raised(lambda: create(**question, tools=tools)),
    }


print(json.dumps({"chat": chat, "mistakes": mistakes}[sys.argv[1]]()))
