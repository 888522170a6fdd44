"""Runs one Python program per instance; the instance is thrown away afterwards.

The snapshot is taken after this module and everything that it imports is in memory, so nothing is
read from anywhere later: a program can import what is listed here and what that brings along.
Nothing here knows the time or makes randomness: both are handed in, so that a run can be repeated.
"""

import abc, argparse, array, ast, base64, binascii, bisect, calendar, cmath, codecs, collections
import collections.abc, colorsys, configparser, contextlib, copy, csv, dataclasses, datetime
import decimal, difflib, enum, fnmatch, fractions, functools, graphlib, gzip, hashlib, heapq, hmac
import html, html.entities, html.parser, inspect, io, ipaddress, itertools, json, keyword, logging
import math, numbers, operator, os.path, pprint, queue, random, re, reprlib, sched, secrets
import shlex, statistics, string, struct, sys, textwrap, time, timeit, token, tokenize, traceback
import types, typing, unicodedata, unittest, urllib.parse, uuid, weakref, xml.etree.ElementTree
import zlib

import wit_world

LONGEST = 400_004  # bytes of each stream that are kept: what a caller may see, and a little


class Stream(io.TextIOBase):
    """A text stream that counts everything and keeps its beginning."""

    def __init__(self):
        self.kept, self.size, self.total = [], 0, 0
        self.buffer = Bytes(self)

    def writable(self):
        return True

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.take(text.encode("utf-8", "replace"))
        return len(text)

    def take(self, data):
        self.total += len(data)
        room = LONGEST - self.size
        if room > 0:
            self.kept.append(bytes(data[:room]))
            self.size += len(self.kept[-1])

    def text(self):
        return b"".join(self.kept).decode("utf-8", "replace")


class Bytes(io.RawIOBase):
    """The binary side of a stream."""

    def __init__(self, stream):
        self.stream = stream

    def writable(self):
        return True

    def write(self, data):
        self.stream.take(bytes(data))
        return len(data)


def set_clock(now_ms):
    """Lets every clock start at `now_ms` and go on by a microsecond each time it is read."""
    reads = itertools.count()

    def nanoseconds():
        return now_ms * 1_000_000 + next(reads) * 1000

    def no_sleep(seconds):
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        for _ in range(min(int(seconds * 1e6), 1_000_000)):
            next(reads)

    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: nanoseconds() / 1e9)
        setattr(time, name + "_ns", nanoseconds)
    time.sleep = no_sleep

    class Date(datetime.date):
        @classmethod
        def today(cls):
            return cls.fromtimestamp(time.time())

    class DateTime(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls):
            return cls.fromtimestamp(time.time(), datetime.timezone.utc).replace(tzinfo=None)

        @classmethod
        def today(cls):
            return cls.now()

    datetime.date, datetime.datetime = Date, DateTime


def set_chance(seed):
    """Makes all randomness follow from `seed`."""
    random.seed(seed)
    source = random.Random(seed ^ 0x5EED)
    os_random = source.randbytes
    os.urandom = os_random
    random.SystemRandom.random = lambda _: source.random()
    random.SystemRandom.getrandbits = lambda _, bits: source.getrandbits(bits)
    secrets.token_bytes = lambda count=32: os_random(count or 32)
    secrets.token_hex = lambda count=32: os_random(count or 32).hex()
    uuid.uuid4 = lambda: uuid.UUID(bytes=os_random(16), version=4)


def run(code, args):
    """Runs a program; returns its exit code."""
    sys.argv = ["main.py", *args]
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    try:
        exec(compile(code, "main.py", "exec"), module.__dict__)
        return 0
    except SystemExit as stop:
        if stop.code is None:
            return 0
        if isinstance(stop.code, int):
            return stop.code & 0xFF
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException as error:
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        lines = traceback.format_exception(type(error), error, trace)
        sys.stderr.write("".join(lines))
        return 1


class WitWorld(wit_world.WitWorld):
    """`process`: a program in JSON, what came of it in JSON."""

    def process(self, input: bytes) -> bytes:
        asked = json.loads(bytes(input))
        out, err = Stream(), Stream()
        sys.stdout = sys.__stdout__ = out
        sys.stderr = sys.__stderr__ = err
        sys.stdin = sys.__stdin__ = io.StringIO(asked["stdin"])
        set_clock(asked["now_ms"])
        set_chance(asked["seed"])
        code = run(asked["code"], asked.get("args", []))
        answer = {
            "exit_code": code,
            "stdout": out.text(),
            "stdout_bytes": out.total,
            "stderr": err.text(),
            "stderr_bytes": err.total,
        }
        return json.dumps(answer).encode()
