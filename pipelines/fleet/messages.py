"""What is said between us and the program that reads the fleet database for us.

Belongs here: how a message travels. Does not belong here: what either side does about it.
"""

import json
import socket
import struct
from enum import StrEnum
from typing import Any

import pyarrow as pa

_HEADER = struct.Struct("<cQ")


class Order(StrEnum):
    """What the reader is told to do."""

    CONNECT = "connect"
    RUN = "run"
    STREAM = "stream"


class Answer:
    """What it answers: any number of batches, then one of the others.

    Attributes:
        BATCH: a record batch.
        DONE: nothing more to come.
        FAULT: the statement failed: a JSON object with `state` and `said`.
        REFUSAL: no connection: a JSON object, the fields of a `Refusal`.
    """

    BATCH = b"B"
    DONE = b"D"
    FAULT = b"F"
    REFUSAL = b"R"


_ORDER = b"O"


def send_order(to: socket.socket, order: Order, **details: Any) -> None:
    """Tells the reader what to do."""
    send(to, _ORDER, json.dumps({"order": order, **details}).encode())


def receive_order(source: socket.socket) -> tuple[Order, dict[str, Any]]:
    """The next order and its details.

    Raises:
        EOFError: nobody is left to give one.
    """
    _, content = receive(source)
    details = json.loads(bytes(content))
    return Order(details.pop("order")), details


def send(to: socket.socket, kind: bytes, content: Any = b"") -> None:
    """Sends one message.

    Raises:
        TimeoutError: nobody takes it within the socket's time-out.
        OSError: nobody is left to take it.
    """
    to.sendall(_HEADER.pack(kind, len(content)))
    to.sendall(content)


def send_json(to: socket.socket, kind: bytes, **fields: Any) -> None:
    """Sends one message that is a JSON object."""
    send(to, kind, json.dumps(fields).encode())


def send_batch(to: socket.socket, batch: pa.RecordBatch) -> None:
    """Sends one record batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    send(to, Answer.BATCH, memoryview(sink.getvalue()))


def receive(source: socket.socket) -> tuple[bytes, memoryview]:
    """The next message: its kind and its content.

    Raises:
        TimeoutError: nothing came within the socket's time-out.
        EOFError: nobody is left to send one.
    """
    kind, length = _HEADER.unpack(_receive_exactly(source, _HEADER.size))
    return kind, _receive_exactly(source, length)


def batch_in(content: memoryview) -> pa.RecordBatch:
    """The record batch of a message of that kind."""
    [batch] = pa.ipc.open_stream(pa.py_buffer(content))
    return batch


def _receive_exactly(source: socket.socket, length: int) -> memoryview:
    content = memoryview(bytearray(length))
    received = 0
    while received < length:
        count = source.recv_into(content[received:])
        if count == 0:
            raise EOFError
        received += count
    return content
