"""Indexes of made-up chunks, as large as one likes."""

import struct

CHUNK = 65536


def write(path, ids):
    """An index of chunks of equal size with these ids, 32 bytes each."""
    sizes = (16384, CHUNK, 262144)
    count = 0
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(struct.pack("<3Q", 48, 0x96824D9C7B129FF9, 0xB000000000000000))
        file.write(struct.pack("<3Q", *sizes))
        file.write(struct.pack("<2Q", 2**64 - 1, 0xE75B9E112F17417D))
        for identity in ids:
            count += 1
            file.write(struct.pack("<Q", count * CHUNK) + identity)
        file.write(struct.pack("<5Q", 0, 0, 48, 16 + 40 * (count + 1), 0x4B4F050E5549ECD1))
