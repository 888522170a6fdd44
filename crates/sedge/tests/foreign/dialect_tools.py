"""The official clients of three vendors ask a model for tools and show it an image: prints what each saw.

Takes the node from NODE (its address), KEY, and the model from MODEL. Each client asks whole and in pieces, and then
answers the first call.
"""

import base64
import json
import os

import anthropic
import ollama
import openai

url, key, model = "http://" + os.environ["NODE"], os.environ["KEY"], os.environ["MODEL"]
schema = {"type": "object", "properties": {"city": {"type": "string"}}}
image = base64.b64encode(b"\x89PNG\r\n\x1a\n of the test").decode()


def of_openai():
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=60)
    function = {"name": "weather", "description": "d", "parameters": schema}
    show = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + image}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, show]}]
    ask = {"model": model, "tools": [{"type": "function", "function": function}]}
    whole = client.chat.completions.create(messages=messages, **ask).choices[0]
    calls = [[it.id, it.function.name, json.loads(it.function.arguments)] for it in whole.message.tool_calls]
    streamed = []
    for chunk in client.chat.completions.create(messages=messages, stream=True, **ask):
        for it in chunk.choices[0].delta.tool_calls or []:
            streamed.append([it.id, it.function.name, json.loads(it.function.arguments)])
    messages += [whole.message, {"role": "tool", "tool_call_id": calls[0][0], "content": "rain"}]
    messages += [{"role": "tool", "tool_call_id": calls[1][0], "content": "noon"}]
    last = client.chat.completions.create(messages=messages, **ask).choices[0]
    return {"calls": calls, "streamed": streamed, "why": whole.finish_reason, "last": last.message.content}


def of_anthropic():
    client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=60)
    show = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, show]}]
    tool = {"name": "weather", "description": "d", "input_schema": schema}
    ask = {"model": model, "max_tokens": 64, "tools": [tool]}
    calls_of = lambda it: [[it.id, it.name, it.input] for it in it.content if it.type == "tool_use"]
    whole = client.messages.create(messages=messages, **ask)
    with client.messages.stream(messages=messages, **ask) as stream:
        final = stream.get_final_message()
    calls = calls_of(whole)
    result = lambda call, said: {"type": "tool_result", "tool_use_id": call[0], "content": said}
    messages += [{"role": "assistant", "content": whole.content}]
    messages += [{"role": "user", "content": [result(calls[0], "rain"), result(calls[1], "noon")]}]
    last = client.messages.create(messages=messages, **ask)
    return {"calls": calls, "streamed": calls_of(final), "why": whole.stop_reason, "last": last.content[0].text}


def of_ollama():
    client = ollama.Client(host=url, headers={"authorization": "Bearer " + key}, timeout=60)
    messages = [{"role": "user", "content": "look", "images": [image]}]
    function = {"name": "weather", "description": "d", "parameters": schema}
    ask = {"model": model, "tools": [{"type": "function", "function": function}]}
    calls_of = lambda it: [[it.function.name, it.function.arguments] for it in it.message.tool_calls or []]
    whole = client.chat(messages=messages, **ask)
    streamed = [call for it in client.chat(messages=messages, stream=True, **ask) for call in calls_of(it)]
    messages += [whole.message, {"role": "tool", "tool_name": "weather", "content": "rain"}]
    messages += [{"role": "tool", "tool_name": "clock", "content": "noon"}]
    last = client.chat(messages=messages, **ask)
    return {"calls": calls_of(whole), "streamed": streamed, "why": whole.done_reason, "last": last.message.content}


print(json.dumps({"openai": of_openai(), "anthropic": of_anthropic(), "ollama": of_ollama()}))
