"""How LangGraph keeps the state between two nodes: the same canonical bytes that are hashed and recorded."""

from __future__ import annotations

from typing import Any

import msgspec
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from core.canonical import encode
from tools.state import STATE_TYPES

_KEYS = {kind: key for key, kind in STATE_TYPES.items()}
_STATE = "state"
_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {key: msgspec.msgpack.Decoder(kind) for key, kind in STATE_TYPES.items()}
_RAW = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]])


class StateSerializer:
    """Serializer of a checkpointer: values of the state by their own types, LangGraph's bookkeeping by its own serializer.

    What comes back is equal to what went in, type by type and bit by bit.
    """

    def __init__(self) -> None:
        self._bookkeeping = JsonPlusSerializer()

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        key = _KEYS.get(type(obj))
        if key is not None:
            return key, encode(obj)
        if isinstance(obj, dict) and obj and all(STATE_TYPES.get(name) is type(value) for name, value in obj.items()):
            return _STATE, encode(tuple(obj.items()))
        return self._bookkeeping.dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, payload = data
        if kind in STATE_TYPES:
            return load(kind, payload)
        if kind == _STATE:
            return {key: load(key, bytes(value)) for key, value in _RAW.decode(payload)}
        return self._bookkeeping.loads_typed(data)


def load(key: str, payload: bytes) -> Any:
    """The value of state key ``key`` again from its canonical bytes."""
    return _DECODERS[key].decode(payload)
