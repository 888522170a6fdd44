"""A node that was taken over: it takes any edge in and has it run whatever it is told to.

It speaks as the proto file says, generated from it, and shares no code with ours. Writes the
authority that vouches for it to AUTHORITY and its address to the standard output, then reads one
order a line as JSON and answers each with one line of JSON:
  {"do": "wait_edge"}                                          waits until an edge has registered
  {"do": "run", "tool", "input", "approved", "approval"}       asks for a run, says what came back
"""

import datetime
import importlib
import ipaddress
import json
import os
import queue
import sys
import tempfile
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
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


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def certify(name, key, issuer, signer, authority):
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return made.sign(signer, hashes.SHA256())


def credentials(authority_file):
    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certify(name("root"), root_key, name("root"), root_key, True)
    leaf = certify(name("leaf"), key, name("root"), root_key, False)
    with open(authority_file, "wb") as file:
        file.write(pem(root))
    key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return grpc.ssl_server_credentials([(key, pem(leaf))])


def main():
    proto, authority_file = sys.argv[1:]
    pb, stubs = generate(proto)
    up, edges, links = queue.Queue(), queue.Queue(), []

    class Edges(stubs.EdgeServiceServicer):
        def Connect(self, messages, context):
            register = next(messages).register
            down = queue.Queue()
            links.append(down)
            edges.put({"edge": register.edge_id, "tools": [it.name for it in register.tools]})
            yield pb.CoreMessage(
                registered=pb.EdgeRegistered(success=True, heartbeat_interval_seconds=30)
            )

            def listen():
                for message in messages:
                    if message.HasField("tool_result"):
                        up.put(message.tool_result)

            with futures.ThreadPoolExecutor(1) as pool:
                pool.submit(listen)
                while context.is_active():
                    try:
                        yield pb.CoreMessage(tool_request=down.get(timeout=1))
                    except queue.Empty:
                        pass

    server = grpc.server(futures.ThreadPoolExecutor(4))
    stubs.add_EdgeServiceServicer_to_server(Edges(), server)
    port = server.add_secure_port("127.0.0.1:0", credentials(authority_file))
    server.start()
    print(json.dumps({"address": f"127.0.0.1:{port}"}), flush=True)

    runs = 0
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "wait_edge":
            answer = edges.get(timeout=PATIENCE)
        else:
            runs += 1
            request = pb.ToolExecutionRequest(
                execution_id=f"run-{runs}",
                tool_name=order["tool"],
                input=order["input"],
                timeout_seconds=PATIENCE,
                approved=order["approved"],
                approval=order["approval"],
            )
            links[-1].put(request)
            result = up.get(timeout=PATIENCE)
            assert result.execution_id == request.execution_id
            answer = {
                "failed": result.is_error,
                "content": result.content,
                "details": result.error_details,
            }
        print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
