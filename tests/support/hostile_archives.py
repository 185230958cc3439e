"""Tar archives that claim more than they hold, or are not what they say."""

import bz2
import gzip
import io
import lzma
import os
import tarfile

MIB = 2**20
CONTENT = os.urandom(3000)
COMPRESSIONS = {"plain": bytes, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def tar_of(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT, **attributes: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in attributes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a header that says `size`, whatever follows it."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def sparse(name: str, size: int) -> bytes:
    """Return a member of the old GNU format that is `size` bytes of holes and no data."""
    block = bytearray(header(name, 0, tarfile.GNUTYPE_SPARSE))
    block[386:398], block[398:410] = b"%011o\0" % size, b"%011o\0" % 0
    block[483:495] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax_sparse(size: int) -> bytes:
    headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "a.mp4"}
    headers |= {"GNU.sparse.size": str(size), "GNU.sparse.numblocks": "1", "GNU.sparse.map": f"{size},0"}
    return tar_of({"GNUSparseFile.0/a.mp4": b""}, pax_headers=headers)


# What makes each: nearly a second of compression, which no collection of tests should cost.
BOMBS = {
    "sparse": lambda: sparse("a.mp4", 3 * 2**30) + bytes(1024),
    "sparse by attributes": lambda: pax_sparse(3 * 2**30),
    "more than the archive holds": lambda: header("a.mp4", 3 * 2**30) + CONTENT,
    "more than a number of eight bytes holds": lambda: header("a.mp4", 2**70),
    "a negative size": lambda: header("a.mp4", -512) + bytes(1024),
    "a long name of gigabytes": lambda: header("././@LongLink", 2**31, tarfile.GNUTYPE_LONGNAME) + b"a" * 4096,
    "a long name of a negative size": lambda: header("././@LongLink", -1, tarfile.GNUTYPE_LONGNAME) + b"a" * 4096,
    "attributes of gigabytes": lambda: header("pax", 2**31, tarfile.XHDTYPE) + b"1 a=b\n" * 1000,
    "attributes of a member of more bytes than there are": lambda: tar_of(
        {"a.mp4": b""}, pax_headers={"size": str(2**60)}
    ),
    "attributes of endless digits": lambda: tar_of({"a.mp4": b""}, pax_headers={"comment": "1" * 60_000}),
    "a size that is no number": lambda: tar_of({"a.mp4": b"x"}, pax_headers={"GNU.sparse.realsize": "many"}),
    "zeros in gzip": lambda: gzip.compress(tar_of({"a.mp4": bytes(80 * MIB)}), 1),
    "zeros in bz2": lambda: bz2.compress(tar_of({"a.mp4": bytes(80 * MIB)}), 1),
    "zeros that only a header claims, in gzip": lambda: gzip.compress(header("a.mp4", 3 * 2**30) + CONTENT),
    "a member that is passed over, in gzip": lambda: gzip.compress(header("b.mp4", 3 * 2**30) + CONTENT),
    "zeros after the end, in gzip": lambda: gzip.compress(tar_of({"a.mp4": CONTENT}) + bytes(80 * MIB), 1),
}
