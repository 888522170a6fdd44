"""The official MCP client for Python, as it is: starts a server, lists its tools, calls some.

Takes the server's command, its environment as JSON, and the calls as JSON: a list of names with arguments. Prints what
the server said as JSON.
"""

import json
import sys

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


def told(result):
    return {
        "error": bool(result.is_error),
        "structured": result.structured_content,
        "text": [it.text for it in result.content],
    }


async def main():
    command, environment, calls = sys.argv[1:]
    server = StdioServerParameters(command=command, args=["mcp"], env=json.loads(environment))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        tools = (await session.list_tools()).tools
        results = []
        for name, arguments in json.loads(calls):
            try:
                results.append(told(await session.call_tool(name, arguments)))
            except Exception as error:
                results.append({"refused": str(error)})
    print(
        json.dumps(
            {
                "server": hello.server_info.name,
                "tools": {it.name: it.input_schema for it in tools},
                "results": results,
            }
        )
    )


anyio.run(main)
