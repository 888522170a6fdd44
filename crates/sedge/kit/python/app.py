"""A function over bytes: a name in, a greeting out. Every task has a fresh instance."""

import wit_world
from componentize_py_types import Err


class WitWorld(wit_world.WitWorld):
    def process(self, input: bytes) -> bytes:
        name = input.decode().strip()
        if not name:
            # The text is told to the caller.
            raise Err("say a name")
        return f"Hello, {name}!".encode()
