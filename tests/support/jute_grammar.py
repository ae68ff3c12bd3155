"""Reads Jute, the language ZooKeeper declares its records in.

A file is modules, a module is classes, a class is fields:

    module org.apache.zookeeper.data {
        class Id { ustring scheme; ustring id; }
    }

A field's type is a primitive, `buffer`, `vector<T>`, `map<K,V>`, or the name of a record: bare within its own
module, qualified (`org.apache.zookeeper.data.Stat`) from another. Upstream's `include "file"` is not read, since
no client-facing record needs it. `//` and `/* */` comments may stand anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

PRIMITIVES = frozenset({"byte", "boolean", "int", "long", "float", "double", "ustring", "buffer"})
KEYWORDS = PRIMITIVES | {"module", "class", "include", "vector", "map"}


class JuteSyntaxError(ValueError):
    """The text is not Jute. `line` counts from 1 and also begins the message."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True)
class Primitive:
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Vector:
    element: JuteType

    def __str__(self) -> str:
        return f"vector<{self.element}>"


@dataclass(frozen=True)
class Map:
    key: JuteType
    value: JuteType

    def __str__(self) -> str:
        return f"map<{self.key},{self.value}>"


@dataclass(frozen=True)
class Reference:
    """The name of a record. `module` is always filled in; the text form is the bare class name."""

    module: str
    name: str

    def __str__(self) -> str:
        return self.name


JuteType = Primitive | Vector | Map | Reference


@dataclass(frozen=True)
class FieldDeclaration:
    name: str
    type: JuteType


@dataclass(frozen=True)
class ClassDeclaration:
    module: str
    name: str
    fields: tuple[FieldDeclaration, ...]


class Token(NamedTuple):
    text: str
    line: int


END = ""

TOKEN = re.compile(
    r"""  (?P<blank>   [ \t\r\n\f]+ | //[^\n]* | /\*.*?\*/ )
        | (?P<unclosed> /\* )
        | (?P<word>    [A-Za-z_][A-Za-z0-9_]* (?: \.[A-Za-z_][A-Za-z0-9_]* )* )
        | (?P<mark>    [{}<>,;] )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(text: str) -> Iterator[Token]:
    """Yields words (dotted names are one word) and punctuation, then one `END` token."""
    position, line = 0, 1
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise JuteSyntaxError(line, f"unexpected character {text[position]!r}")
        if match.lastgroup == "unclosed":
            raise JuteSyntaxError(line, "comment is never closed")
        if match.lastgroup != "blank":
            yield Token(match[0], line)
        line += match[0].count("\n")
        position = match.end()
    yield Token(END, line)


class _Parser:
    """Recursive descent, one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._token = next(self._tokens)
        self._classes: dict[str, ClassDeclaration] = {}
        self._references: list[tuple[Reference, int]] = []

    def file(self) -> dict[str, ClassDeclaration]:
        while self._token.text != END:
            self._module()
        # Only now: a record may be used above its declaration.
        for reference, line in self._references:
            declared = self._classes.get(reference.name)
            if declared is None or declared.module != reference.module:
                raise JuteSyntaxError(line, f"no record {reference.module}.{reference.name}")
        return self._classes

    def _module(self) -> None:
        self._expect("module")
        module = self._word("a module name").text
        self._expect("{")
        while not self._accept("}"):
            self._class(module)

    def _class(self, module: str) -> None:
        self._expect("class")
        name = self._plain_name("a class name")
        # Across modules too: the text form of a type, and zkwire's classes, are told apart by bare names.
        if name.text in self._classes:
            raise JuteSyntaxError(name.line, f"class {name.text} is declared twice")
        self._expect("{")
        fields: dict[str, FieldDeclaration] = {}
        while not self._accept("}"):
            field_type = self._type(module)
            field = self._plain_name("a field name")
            if field.text in fields:
                raise JuteSyntaxError(field.line, f"field {field.text} is declared twice in {name.text}")
            self._expect(";")
            fields[field.text] = FieldDeclaration(field.text, field_type)
        self._classes[name.text] = ClassDeclaration(module, name.text, tuple(fields.values()))

    def _type(self, module: str) -> JuteType:
        if self._accept("vector"):
            self._expect("<")
            element = self._type(module)
            self._expect(">")
            return Vector(element)
        if self._accept("map"):
            self._expect("<")
            key = self._type(module)
            self._expect(",")
            value = self._type(module)
            self._expect(">")
            return Map(key, value)
        if self._token.text in PRIMITIVES:
            return Primitive(self._take().text)
        word = self._word("a type")
        qualifier, _, name = word.text.rpartition(".")
        reference = Reference(qualifier or module, name)
        self._references.append((reference, word.line))
        return reference

    def _take(self) -> Token:
        taken = self._token
        self._token = next(self._tokens, taken)
        return taken

    def _accept(self, text: str) -> bool:
        if self._token.text != text:
            return False
        self._take()
        return True

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._unexpected(repr(text))

    def _word(self, wanted: str) -> Token:
        text = self._token.text
        if not (text[:1].isalpha() or text[:1] == "_") or text in KEYWORDS:
            raise self._unexpected(wanted)
        return self._take()

    def _plain_name(self, wanted: str) -> Token:
        if "." in self._token.text:
            raise self._unexpected(wanted)
        return self._word(wanted)

    def _unexpected(self, wanted: str) -> JuteSyntaxError:
        seen = "the end of the text" if self._token.text == END else repr(self._token.text)
        return JuteSyntaxError(self._token.line, f"expected {wanted}, found {seen}")


def parse(text: str) -> dict[str, ClassDeclaration]:
    """Returns the classes of all modules by bare name, in the order of the text.

    Raises:
        JuteSyntaxError: the text breaks the grammar, declares a name twice, or uses a record it does not declare.
    """
    return _Parser(text).file()


def layouts(text: str) -> dict[str, list[tuple[str, str]]]:
    """Returns each class's fields as (name, type text), with bare record names: `vector<ACL>`, `Stat`."""
    return {
        name: [(field.name, str(field.type)) for field in declared.fields] for name, declared in parse(text).items()
    }


_FIELD = re.compile(r"^\s+[\w.<>,]+ (\w+);(?:\s*// (.*))?$")
_CLASS = re.compile(r"^\s*class (\w+) ")
_MORE = re.compile(r"^\s+// (.*)$")


def notes(text: str) -> dict[str, dict[str, str]]:
    """Returns the comment that follows each field, by class and field, as far as there are any.

    A comment goes on in the lines below its field. Only text laid out as `vendor-jute/zookeeper.jute` is understood:
    one class or field in a line.
    """
    found: dict[str, dict[str, str]] = {}
    name, field = "", ""
    for line in text.splitlines():
        if begun := _CLASS.match(line):
            name, field = begun[1], ""
        elif declared := _FIELD.match(line):
            field = declared[1]
            if declared[2]:
                found.setdefault(name, {})[field] = declared[2]
        elif field and (more := _MORE.match(line)):
            found[name][field] += f" {more[1]}"
        else:
            field = ""
    return found
