"""Makes Qt's ICU data small: most of it is languages, currencies and old encodings that nothing here asks for.

Qt brings its own tables for numbers, dates and letters. Of ICU it asks how names are sorted and how a language writes
capitals, so the collations of every language stay; so does whatever is not named below. Where an item is missing, ICU goes
on with its root, as it does for a language that it never knew.
"""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from pathlib import Path

from installing import Problem

HEADER = struct.Struct("<HBB")  # its size, and two bytes that say what it is
MARK = b"CmnD"  # the format of a package of items, 12 bytes into it
# a language, not English: `de.res`, `sr_Latn_RS.res`, `zh__PINYIN.res`
LANGUAGE = re.compile(r"(?!en[_.]|res_index)[a-z]{2,3}(_\w*)?\.res")
BY_LANGUAGE = ("", "curr", "lang", "rbnf", "region", "unit", "zone")  # "": the items in no folder


def wanted(name: str) -> bool:
    """Whether an item stays, by its name in the package: `icudt73l/coll/sv.res`."""
    *folders, file = name.split("/")[1:]
    folder = folders[0] if folders else ""
    if file.endswith((".cnv", ".dict")) or folder == "translit":
        return False  # encodings before Unicode; words of languages that write no spaces; other scripts
    return folder not in BY_LANGUAGE or not LANGUAGE.fullmatch(file)


def items(data: bytes) -> list[tuple[str, bytes]]:
    """Names and contents, in the package's order, which is sorted."""
    if len(data) < 32 or data[2:4] != b"\xda\x27" or data[12:16] != MARK or data[8]:
        raise Problem("Qt's ICU data are in a form that packaging/icu.py does not know")
    base = HEADER.unpack_from(data)[0]
    (count,) = struct.unpack_from("<I", data, base)
    places = [struct.unpack_from("<II", data, base + 4 + 8 * i) for i in range(count)]
    ends = [*(start for _, start in places[1:]), len(data) - base]
    out = []
    for (name, start), end in zip(places, ends):
        at = base + name
        out.append(
            (data[at : data.index(b"\0", at)].decode("ascii"), data[base + start : base + end])
        )
    return out


def packed(head: bytes, kept: list[tuple[str, bytes]]) -> bytes:
    """A package of these items under the header of another."""
    names = b"".join(name.encode("ascii") + b"\0" for name, _ in kept)
    first = 4 + 8 * len(kept)
    place = first + len(names)
    table, body = [struct.pack("<I", len(kept))], bytearray(head + bytes(place))
    for name, content in kept:
        body += bytes(-len(body) % 16)  # ICU reads whole words in place
        table.append(struct.pack("<II", first, len(body) - len(head)))
        first += len(name) + 1
        body += content
    body[len(head) : len(head) + place] = b"".join(table) + names
    return bytes(body)


def reduced(data: bytes) -> bytes:
    return packed(data[: HEADER.unpack_from(data)[0]], [i for i in items(data) if wanted(i[0])])


def shrink(library: Path) -> None:
    """Replaces a `libicudata` by one of the same name with less in it. Needs binutils."""
    with tempfile.TemporaryDirectory() as folder:
        data, source = Path(folder) / "data", Path(folder) / "data.s"
        tool("objcopy", "-O", "binary", "--only-section=.rodata", str(library), str(data))
        symbol = re.search(r" R (icudt\w+_dat)$", tool("nm", "-D", str(library)), re.MULTILINE)
        soname = re.search(r"\(SONAME\).*\[(.+)\]", tool("readelf", "-d", str(library)))
        if symbol is None or soname is None:
            raise Problem(f"{library.name} holds no ICU data that packaging/icu.py can find")
        data.write_bytes(reduced(data.read_bytes()))
        name = symbol[1]
        source.write_text(
            f".section .rodata\n.balign 16\n.globl {name}\n.type {name}, %object\n{name}:\n"
            f'.incbin "{data}"\n.size {name}, . - {name}\n.section .note.GNU-stack,"",%progbits\n'
        )
        tool("as", "-o", f"{source}.o", str(source))
        tool("ld", "-shared", "-soname", soname[1], "-o", f"{source}.so", f"{source}.o")
        library.write_bytes(Path(f"{source}.so").read_bytes())


def tool(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Problem(f"{command[0]} failed: {last}")
    return done.stdout
