"""Agents of somebody else: a web server with cards, a name server, an answerer on the local network.

Prints one line of JSON with the ports, then serves until its standard input ends. The name server is
`dnslib`, the web server Python's own.
"""

import http.server
import json
import socket
import sys
import threading

from dnslib import PTR, QTYPE, RR, SRV, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

SKILLS = [{"id": "sum", "name": "Sum up", "description": "makes texts short", "tags": []}]
CARDS = {
    "new": ("/.well-known/agent-card.json", {"name": "new", "version": "2", "skills": SKILLS}),
    "old": ("/.well-known/agent.json", {"name": "old", "url": "http://old/a2a", "skills": []}),
    "bad": ("/.well-known/agent.json", {"name": ""}),
}
asked = []


def web(kind):
    place, card = CARDS[kind]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append([kind, self.path, self.headers["host"]])
            found = self.path == place
            body = json.dumps(card if found else {"detail": "Not Found"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


ports = {kind: web(kind) for kind in CARDS}


class Names(BaseResolver):
    def resolve(self, request, _):
        reply = request.reply()
        name = str(request.q.qname).lower()
        kind = QTYPE[request.q.qtype]
        if kind == "SRV" and name in SERVICES:
            for priority, host in enumerate(SERVICES[name]):
                record = SRV(priority, 1, ports[host], f"{host}.home.test.")
                reply.add_answer(RR(name, QTYPE.SRV, ttl=1, rdata=record))
        elif kind == "A" and name.endswith(".home.test."):
            reply.add_answer(RR(name, QTYPE.A, ttl=1, rdata=A("127.0.0.1")))
        elif not (kind == "AAAA" and name.endswith(".home.test.")):
            reply.header.rcode = 3
        return reply


SERVICES = {
    "_a2a._tcp.home.test.": ["new", "old"],
    "_a2a._tcp.agents.lab.svc.cluster.local.": ["new"],
    "_a2a._tcp.mixed.test.": ["bad", "new"],
}


def local_network():
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))

    def serve():
        while True:
            data, source = listener.recvfrom(9000)
            question = DNSRecord.parse(data)
            # Class IN, and an answer to the asker alone.
            if str(question.q.qname) != "_a2a._tcp.local." or question.q.qclass != 0x8001:
                continue
            reply = question.reply()
            instance = "a box._a2a._tcp.local."
            reply.add_answer(RR("_a2a._tcp.local.", QTYPE.PTR, ttl=1, rdata=PTR(instance)))
            record = SRV(0, 0, ports["new"], "box.local.")
            reply.add_ar(RR(instance, QTYPE.SRV, ttl=1, rdata=record))
            reply.add_ar(RR("box.local.", QTYPE.A, ttl=1, rdata=A("127.0.0.1")))
            listener.sendto(b"no message", source)
            listener.sendto(reply.pack(), source)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


silent = DNSLogger(logf=lambda _: None)
server = DNSServer(Names(), address="127.0.0.1", port=0, logger=silent)
server.start_thread()
dns = server.server.socket.getsockname()[1]
print(json.dumps({"dns": dns, "mdns": local_network(), **ports}), flush=True)
for _ in sys.stdin:
    print(json.dumps(asked), flush=True)
