"""Runs one Python program per instance; the instance is thrown away afterwards.

The snapshot is taken after this module and everything that it imports is in memory, so nothing is
read from anywhere later: a program can import what is listed here and what that brings along.
Nothing here knows the time or makes randomness: both are handed in, so that a run can be repeated.
"""

import _thread, abc, argparse, array, ast, base64, binascii, bisect, builtins, calendar, cmath
import codecs, collections, collections.abc, colorsys, configparser, contextlib, copy, csv
import dataclasses, datetime, decimal, difflib, enum, errno, fnmatch, fractions, functools
import graphlib, gzip, hashlib, heapq, hmac, html, html.entities, html.parser, inspect, io
import ipaddress, itertools, json, keyword, linecache, logging, math, numbers, operator, os
import os.path, pprint, queue, random, re, reprlib, sched, secrets, shlex, statistics, string
import struct, sys, textwrap, threading, time, timeit, token, tokenize, traceback, types, typing
import unicodedata, unittest, urllib.parse, uuid, weakref, xml.etree.ElementTree, zlib

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


def nothing_there(*args, **kwargs):
    """Stands for everything that would reach a file, a folder or a process."""
    raise PermissionError(errno.EPERM, "there are no files and no processes in the Wasm sandbox")


def no_thread(*args, **kwargs):
    """Stands for whatever would begin a thread."""
    raise RuntimeError("can't start new thread: there are none in the Wasm sandbox")


def refuse_to_open(event, args):
    """Stops the interpreter itself, which looks for the source of a syntax error in a file."""
    if event == "open":
        nothing_there()


def close_the_world():
    """Makes what a bare component cannot do an error that a program can catch, instead of its end."""
    sys.addaudithook(refuse_to_open)
    builtins.open = io.open = io.open_code = os.open = nothing_there
    for name in (
        "access", "chdir", "chmod", "link", "listdir", "lstat", "makedirs", "mkdir", "popen", "readlink",
        "remove", "removedirs", "rename", "replace", "rmdir", "scandir", "stat", "statvfs", "symlink",
        "system", "truncate", "unlink", "utime", "walk",
    ):
        setattr(os, name, nothing_there)
    os.getcwd = lambda: "/"
    os.environ.clear()
    _thread.start_new_thread = _thread.start_joinable_thread = no_thread
    threading._start_joinable_thread = no_thread
    # What is not in memory is not to be had: nothing is looked for anywhere.
    sys.path.clear()
    sys.meta_path[:] = [it for it in sys.meta_path if it.__name__ != "PathFinder"]
    # Lines of what was frozen into the interpreter are not looked for either.
    linecache.checkcache = lambda filename=None: None
    linecache.lazycache = lambda filename, module_globals: False
    linecache.updatecache = lambda filename, module_globals=None: []
    linecache.getlines = lambda filename, module_globals=None: (
        linecache.cache[filename][2] if filename == "main.py" else []
    )


def told(error, source):
    """Returns an exception as the interpreter tells it, without its own frames: `traceback` looks for
    files that are nowhere."""
    text = f"{type(error).__name__}: {error}\n" if str(error) else f"{type(error).__name__}\n"
    if isinstance(error, SyntaxError) and error.filename == "main.py":
        line = source[error.lineno - 1].strip() if 0 < (error.lineno or 0) <= len(source) else ""
        return f'  File "main.py", line {error.lineno}\n    {line}\n{type(error).__name__}: {error.msg}\n'
    frames, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == "main.py":
            line = source[trace.tb_lineno - 1].strip() if trace.tb_lineno <= len(source) else ""
            frames.append(f'  File "main.py", line {trace.tb_lineno}, in {code.co_name}\n    {line}\n')
        trace = trace.tb_next
    if len(frames) > 40:
        between = f"  [{len(frames) - 40} more frames]\n"
        frames = frames[:20] + [between] + frames[-20:]
    if not frames:
        return text
    return "Traceback (most recent call last):\n" + "".join(frames) + text


def chain(error, source):
    """Returns an exception and what led to it, oldest first."""
    parts, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        parts.append(told(error, source))
        if error.__cause__ is not None:
            parts.append("\nThe above exception was the direct cause of the following exception:\n\n")
            error = error.__cause__
        elif error.__context__ is not None and not error.__suppress_context__:
            parts.append("\nDuring handling of the above exception, another exception occurred:\n\n")
            error = error.__context__
        else:
            error = None
    return "".join(reversed(parts))


def run(code, args):
    """Runs a program; returns its exit code."""
    close_the_world()
    linecache.cache["main.py"] = (len(code), None, code.splitlines(keepends=True), "main.py")
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
        sys.stderr.write(chain(error, code.splitlines()))
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
