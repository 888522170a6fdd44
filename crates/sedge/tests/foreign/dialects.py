"""The official clients of three vendors against one node: prints what each saw as one JSON object.

Takes the node from NODE (its address) and KEY. Each client asks the same question, whole and in pieces.
"""

import json
import os

import anthropic
import ollama
import openai

url, key = "http://" + os.environ["NODE"], os.environ["KEY"]
question = [{"role": "user", "content": "hello"}]


def of_openai():
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=60)
    ask = {"model": model, "messages": question, "temperature": 0, "max_tokens": 12}
    whole = client.chat.completions.create(**ask)
    stream = client.chat.completions.create(**ask, stream=True)
    pieces = [it.choices[0].delta.content or "" for it in stream if it.choices]
    return {
        "whole": whole.choices[0].message.content,
        "pieces": pieces,
        "tokens": [whole.usage.prompt_tokens, whole.usage.completion_tokens],
        "why": whole.choices[0].finish_reason,
        "unknown": raised(lambda: client.chat.completions.create(**{**ask, "model": "nobody"})),
        "stranger": raised(lambda: client.with_options(api_key="no").models.list()),
    }


def of_anthropic():
    client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=60)
    ask = {"model": model, "messages": question, "max_tokens": 12}
    # Newer clients have no word for it; the wire has.
    ask["extra_body"] = {"temperature": 0}
    whole = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    stranger = client.with_options(api_key="no")
    usage = final.usage
    return {
        "whole": "".join(it.text for it in whole.content),
        "pieces": pieces,
        "final": "".join(it.text for it in final.content),
        "tokens": [usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens],
        "why": [whole.stop_reason, final.stop_reason],
        "unknown": raised(lambda: client.messages.create(**{**ask, "model": "nobody"})),
        "stranger": raised(lambda: stranger.messages.create(**ask)),
        "refused": raised(lambda: client.messages.create(**{**ask, "extra_body": {"top_k": 3}})),
    }


def of_ollama():
    client = ollama.Client(host=url, headers={"authorization": "Bearer " + key}, timeout=60)
    options = {"temperature": 0, "num_predict": 12}
    whole = client.chat(model=model, messages=question, options=options)
    pieces = [it.message.content for it in client.chat(model, question, options=options, stream=True)]
    generated = client.generate(model=model, prompt="hello", options=options)
    stranger = ollama.Client(host=url, headers={"authorization": "Bearer no"})
    return {
        "whole": whole.message.content,
        "pieces": pieces,
        "generated": generated.response,
        "tokens": [whole.prompt_eval_count, whole.eval_count],
        "why": whole.done_reason,
        "models": [it.model for it in client.list().models],
        "family": client.show(model).details.family,
        "loaded": model in [it.model for it in client.ps().models],
        "unknown": raised(lambda: client.chat("nobody", question)),
        "stranger": raised(lambda: stranger.chat(model, question)),
    }


def raised(call):
    try:
        call()
    except (openai.APIStatusError, anthropic.APIStatusError, ollama.ResponseError) as error:
        return f"{type(error).__name__} {error.status_code}"
    return "nothing"


first = openai.OpenAI(base_url=url + "/v1", api_key=key)
model = next(it.id for it in first.models.list())
print(json.dumps({"openai": of_openai(), "anthropic": of_anthropic(), "ollama": of_ollama()}))
