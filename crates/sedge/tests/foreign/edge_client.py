"""An edge in Python, generated from the proto file: nothing of ours but the file.

Reads one order a line as JSON, answers each with one line of JSON:
  {"do": "register", "id", "token", "tools": [...], "link"}  opens a link, says what the node answers
  {"do": "first_heartbeat"}                                  begins with the wrong message
  {"do": "heartbeat", "link"}                                sends one
  {"do": "run", "link"}                                      waits for a request and answers it
  {"do": "forge", "link", "by"}                              waits for a request and answers it over another link
  {"do": "answer", "link"}                                   answers what was forged before, honestly
  {"do": "wait_end", "link"}                                 waits for the end of a link
  {"do": "list", "size", "token"} and {"do": "status", "id"} ask with the node's key
"""

import importlib
import json
import os
import queue
import sys
import tempfile

import grpc
from grpc_tools import protoc

PATIENCE = 60


def generate(proto):
    folder = tempfile.mkdtemp()
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    where = os.path.dirname(proto)
    flags = [f"-I{where}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["protoc", *flags, proto]) == 0
    sys.path.insert(0, folder)
    return importlib.import_module("nexus_pb2"), importlib.import_module("nexus_pb2_grpc")


def failed(error):
    return {"code": error.code().name, "details": error.details()}


class Link:
    """One Connect stream."""

    def __init__(self, stub):
        self.up = queue.Queue()
        self.down = stub.Connect(iter(self.up.get, None))

    def next(self):
        try:
            return next(self.down)
        except StopIteration:
            return None
        except grpc.RpcError as error:
            return failed(error)


def main():
    proto, address, authority, key = sys.argv[1:]
    pb, stubs = generate(proto)
    with open(authority, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    channel = grpc.secure_channel(address, credentials)
    stub = stubs.EdgeServiceStub(channel)
    bearer = [("authorization", f"Bearer {key}")]
    links = {}

    def first(link, message):
        link.up.put(message)
        answer = link.next()
        if isinstance(answer, dict):
            return answer
        registered = answer.registered
        return {
            "success": registered.success,
            "error": registered.error,
            "heartbeat": registered.heartbeat_interval_seconds,
            "version": registered.core_version,
        }

    def register(order):
        tools = [pb.EdgeToolDefinition(**it) for it in order["tools"]]
        links[order["link"]] = link = Link(stub)
        message = pb.EdgeRegister(
            edge_id=order["id"],
            name="a test",
            auth_token=order["token"],
            tools=tools,
            channel_types=["slack"],
            capabilities=pb.EdgeCapabilities(tools=True),
            version="0.1",
            metadata={"os": "linux"},
        )
        return first(link, pb.EdgeMessage(register=message))

    def give(link, execution, content):
        result = pb.ToolExecutionResult(execution_id=execution, content=content, duration_ms=7)
        links[link].up.put(pb.EdgeMessage(tool_result=result))

    def run(order):
        request = links[order["link"]].next().tool_request
        give(order["link"], request.execution_id, f"{request.tool_name} got {request.input}")
        return {"tool": request.tool_name, "timeout": request.timeout_seconds}

    waiting = {}

    def forge(order):
        request = links[order["link"]].next().tool_request
        waiting[order["link"]] = request
        give(order["by"], request.execution_id, "forged")
        return {"execution": request.execution_id}

    def answer_honestly(order):
        request = waiting.pop(order["link"])
        give(order["link"], request.execution_id, f"{request.tool_name} got {request.input}")
        return {}

    def heartbeat(order):
        metrics = pb.EdgeMetrics(active_tool_count=2, cpu_percent=12.5, memory_bytes=1 << 33)
        beat = pb.EdgeHeartbeat(edge_id="whoever", metrics=metrics)
        links[order["link"]].up.put(pb.EdgeMessage(heartbeat=beat))
        return {}

    def first_heartbeat(_):
        return first(Link(stub), pb.EdgeMessage(heartbeat=pb.EdgeHeartbeat()))

    def shown(status):
        return {
            "id": status.edge_id,
            "status": pb.EdgeConnectionStatus.Name(status.connection_status),
            "tools": list(status.tools),
            "channels": list(status.channel_types),
            "metadata": dict(status.metadata),
            "active": status.metrics.active_tool_count,
            "memory": status.metrics.memory_bytes,
            "since": status.connected_at.seconds,
        }

    def listed(order):
        request = pb.ListEdgesRequest(page_size=order["size"], page_token=order["token"])
        metadata = bearer if order.get("keyed", True) else []
        answer = stub.ListEdges(request, metadata=metadata, timeout=PATIENCE)
        edges = [shown(it) for it in answer.edges]
        return {"edges": edges, "next": answer.next_page_token, "total": answer.total_count}

    def status(order):
        request = pb.GetEdgeStatusRequest(edge_id=order["id"])
        return shown(stub.GetEdgeStatus(request, metadata=bearer, timeout=PATIENCE).status)

    def wait_end(order):
        return links[order["link"]].next() or {}

    orders = {
        "register": register,
        "run": run,
        "forge": forge,
        "answer": answer_honestly,
        "heartbeat": heartbeat,
        "first_heartbeat": first_heartbeat,
        "list": listed,
        "status": status,
        "wait_end": wait_end,
    }
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = orders[order["do"]](order)
        except grpc.RpcError as error:
            answer = failed(error)
        print(json.dumps(answer), flush=True)
    for link in links.values():
        link.up.put(None)
    channel.close()


if __name__ == "__main__":
    main()
