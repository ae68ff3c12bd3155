"""Reads from a compiled Java class what the Jute compiler wrote there: fields, their types, and their wire order.

Only the jars are needed, no JVM. Two independent facts come out of one class file: the declared fields, and the
order in which `serialize` reads them to write them, which is the order of the bytes on the wire.

Source: The Java Virtual Machine Specification, chapter 4 (class file format) and 4.7.9.1 (signatures).
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ACC_STATIC = 0x0008

# Length of a constant after its tag byte, for every tag but 1 (Utf8), which carries its own length.
CONSTANT_LENGTH = {
    **dict.fromkeys((7, 8, 16, 19, 20), 2),
    **dict.fromkeys((15,), 3),
    **dict.fromkeys((3, 4, 9, 10, 11, 12, 17, 18), 4),
    **dict.fromkeys((5, 6), 8),
}
UTF8, LONG, DOUBLE, FIELD_REF = 1, 5, 6, 9

# aload_0; getfield #index: reads a field of `this`.
READ_OWN_FIELD = re.compile(rb"\x2a\xb4(..)", re.DOTALL)

JAVA_TYPE = re.compile(
    r"""  \[B | [BZIJFD] | Ljava/lang/\w+;
        | Ljava/util/(?P<generic>List|Map)<
        | Lorg/apache/zookeeper/\w+/(?P<record>\w+);
    """,
    re.VERBOSE,
)

# `Integer` and the like stand for a primitive inside List<> and Map<,>.
JUTE_TYPE = {
    "B": "byte", "Z": "boolean", "I": "int", "J": "long", "F": "float", "D": "double", "[B": "buffer",
    "Ljava/lang/String;": "ustring", "Ljava/lang/Byte;": "byte", "Ljava/lang/Boolean;": "boolean",
    "Ljava/lang/Integer;": "int", "Ljava/lang/Long;": "long", "Ljava/lang/Float;": "float",
    "Ljava/lang/Double;": "double",
}  # fmt: skip


class ClassFileError(ValueError):
    """The bytes are not a class file, or hold a type that Jute never generates."""


@dataclass(frozen=True)
class Member:
    """A field or method. `signature` is the generic type where the class file has one, else the descriptor."""

    access: int
    name: str
    signature: str
    code: bytes


class ClassFile:
    """One parsed class file. `fields` and `methods` keep the order of the file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        if self._u4() != 0xCAFEBABE:
            raise ClassFileError("no class file: the magic number is missing")
        self._u4()  # minor and major version
        self._constants = self._constant_pool()
        self._u2()  # access
        self.name = self._class_name(self._u2())
        self._u2()  # super class
        self._take(2 * self._u2())  # interfaces
        self.fields = self._members()
        self.methods = self._members()

    def layout(self) -> list[tuple[str, str]]:
        """Returns (field name, Jute type text) in declaration order, static fields left out."""
        return [(field.name, jute_type(field.signature)) for field in self.fields if not field.access & ACC_STATIC]

    def written_order(self) -> list[str]:
        """Returns the names of the fields in the order in which `serialize` first reads them."""
        (serialize,) = (method for method in self.methods if method.name == "serialize")
        order: dict[str, None] = {}
        for match in READ_OWN_FIELD.finditer(serialize.code):
            tag, constant = self._constants.get(int.from_bytes(match[1], "big"), (0, b""))
            if tag == FIELD_REF and self._class_name(int.from_bytes(constant[:2], "big")) == self.name:
                _, name_and_type = self._constants[int.from_bytes(constant[2:], "big")]
                order[self._text(int.from_bytes(name_and_type[:2], "big"))] = None
        return list(order)

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) < length:
            raise ClassFileError(f"class file ends at byte {len(self._data)}, {length} wanted at {self._at}")
        self._at += length
        return taken

    def _u1(self) -> int:
        return self._take(1)[0]

    def _u2(self) -> int:
        return int.from_bytes(self._take(2), "big")

    def _u4(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def _constant_pool(self) -> dict[int, tuple[int, bytes]]:
        pool: dict[int, tuple[int, bytes]] = {}
        index, count = 1, self._u2()
        while index < count:
            tag = self._u1()
            if tag != UTF8 and tag not in CONSTANT_LENGTH:
                raise ClassFileError(f"constant {index} has the unknown tag {tag}")
            pool[index] = tag, self._take(self._u2() if tag == UTF8 else CONSTANT_LENGTH[tag])
            index += 2 if tag in (LONG, DOUBLE) else 1  # these two take up the next index as well (4.4.5)
        return pool

    def _text(self, index: int) -> str:
        return self._constants[index][1].decode()

    def _class_name(self, index: int) -> str:
        return self._text(int.from_bytes(self._constants[index][1], "big"))

    def _members(self) -> list[Member]:
        return [self._member() for _ in range(self._u2())]

    def _member(self) -> Member:
        access, name, signature, code = self._u2(), self._text(self._u2()), self._text(self._u2()), b""
        for _ in range(self._u2()):
            attribute, body = self._text(self._u2()), self._take(self._u4())
            if attribute == "Signature":
                signature = self._text(int.from_bytes(body, "big"))
            elif attribute == "Code":
                code = body[8 : 8 + int.from_bytes(body[4:8], "big")]  # after max_stack, max_locals, code_length
        return Member(access, name, signature, code)


def jute_type(signature: str) -> str:
    """Returns the Jute text of a Java field type.

    `J` is `long`, `Ljava/util/List<Lorg/apache/zookeeper/data/ACL;>;` is `vector<ACL>`.

    Raises:
        ClassFileError: no Jute type compiles to this.
    """
    text, end = _jute_type(signature, 0)
    return text if end == len(signature) else _refuse(signature)


def _jute_type(signature: str, start: int) -> tuple[str, int]:
    """Returns the type that starts there as Jute text, and where it ends."""
    match = JAVA_TYPE.match(signature, start)
    if match is None:
        return _refuse(signature)
    if match["record"]:
        return match["record"], match.end()
    if not match["generic"]:
        return JUTE_TYPE.get(match[0]) or _refuse(signature), match.end()
    arguments, end = [], match.end()
    for _ in range(2 if match["generic"] == "Map" else 1):
        argument, end = _jute_type(signature, end)
        arguments.append(argument)
    if not signature.startswith(">;", end):
        return _refuse(signature)
    return f"{'map' if len(arguments) == 2 else 'vector'}<{','.join(arguments)}>", end + len(">;")


def _refuse(signature: str) -> NoReturn:
    raise ClassFileError(f"not a Jute type: {signature}")


def jars_on(classpath: str) -> list[Path]:
    """Returns the jars a JVM would read for this classpath: those it names, and those their manifests name in turn."""
    waiting = [Path(entry) for entry in classpath.split(os.pathsep) if entry.endswith(".jar")]
    jars: dict[Path, None] = {}
    while waiting:
        jar = waiting.pop(0)
        if jar not in jars and jar.exists():
            jars[jar] = None
            waiting += _class_path_of(jar)
    return list(jars)


def _class_path_of(jar: Path) -> list[Path]:
    with zipfile.ZipFile(jar) as archive:
        name = "META-INF/MANIFEST.MF"
        manifest = archive.read(name).decode() if name in archive.namelist() else ""
    # A manifest breaks its lines after 72 bytes, even within a word.
    unfolded = re.sub(r"\r?\n ", "", manifest)
    entries = re.search(r"^Class-Path:(.*)$", unfolded, re.MULTILINE)
    return [jar.parent / entry for entry in entries[1].split() if entry.endswith(".jar")] if entries else []


def read_records(jars: Iterable[Path], packages: Iterable[str]) -> dict[str, ClassFile]:
    """Returns the classes of `packages` ("org/apache/zookeeper/data") by bare name.

    The first jar that has a class wins, as in a JVM. Only classes with a `serialize` method are records.
    """
    wanted = set(packages)
    found: dict[str, ClassFile] = {}
    for jar in jars:
        with zipfile.ZipFile(jar) as archive:
            for entry in archive.namelist():
                package, _, file = entry.rpartition("/")
                name, dot, suffix = file.partition(".")
                if package in wanted and dot + suffix == ".class" and name not in found:
                    parsed = ClassFile(archive.read(entry))
                    if any(method.name == "serialize" for method in parsed.methods):
                        found[name] = parsed
    return found
