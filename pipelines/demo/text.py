"""Random-looking text in bulk: git hashes, store paths, UUIDs, as Arrow arrays.

Belongs here: vectorised functions from numbers to text; equal numbers give equal text. Does not
belong here: what the text is for.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
# Nix leaves out e, o, t and u, lest a hash should spell something.
_NIX_BASE32 = np.frombuffer(b"0123456789abcdfghijklmnpqrsvwxyz", dtype=np.uint8)


def mix(*parts: NDArray[Any] | int) -> Hashes:
    """Hashes tuples of integers to 64 bits (splitmix64 over the parts, broadcast)."""
    state = np.zeros(1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            state = state ^ np.asarray(part).astype(np.uint64)
            state = state + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def hex_text(keys: Hashes, length: int) -> pa.Array:
    """Hexadecimal text of a length, such as a git hash with 40."""
    return _characters(keys, length, _HEX)


def nix_hashes(keys: Hashes) -> pa.Array:
    """The 32 characters with which a store path begins."""
    return _characters(keys, 32, _NIX_BASE32)


def uuids(keys: Hashes) -> pa.Array:
    """UUIDs of version 4, as text."""
    digits = _bytes(keys, 32) % 16
    digits[:, 12] = 4
    digits[:, 16] = 8 + digits[:, 16] % 4
    plain = _fixed_width(_HEX[digits])
    cuts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
    return join(*(pc.utf8_slice_codeunits(plain, start, stop) for start, stop in cuts), between="-")


def store_paths(keys: Hashes, names: pa.Array, *, suffix: str = "") -> pa.Array:
    """Paths as Nix writes them: `/nix/store/<hash>-<name><suffix>`."""
    return join("/nix/store/", nix_hashes(keys), "-", names, suffix)


def join(*parts: pa.Array | str, between: str = "") -> pa.Array:
    """Joins text row by row; null if one part is."""
    return pc.binary_join_element_wise(*parts, between)


def take(values: list[str] | tuple[str, ...], codes: NDArray[Any]) -> pa.Array:
    """The values that the codes number, as text."""
    return pa.array(values, pa.string()).take(pa.array(codes))


def _characters(keys: Hashes, length: int, alphabet: NDArray[np.uint8]) -> pa.Array:
    return _fixed_width(alphabet[_bytes(keys, length) % len(alphabet)])


def _bytes(keys: Hashes, length: int) -> NDArray[np.uint8]:
    """A matrix of `length` columns: the bytes of the keys mixed with 0, 1, 2, ..."""
    words = np.stack([mix(keys, number) for number in range(-(-length // 8))], axis=1)
    # A fixed byte order, so that a seed means the same fleet on every machine.
    return words.astype("<u8").view(np.uint8)[:, :length]


def _fixed_width(characters: NDArray[np.uint8]) -> pa.Array:
    rows, width = characters.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    text = np.ascontiguousarray(characters)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))
