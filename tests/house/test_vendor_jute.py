"""vendor-jute/zookeeper.jute agrees with zkwire's declarations; its parser works."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.class_file import ClassFile, ClassFileError, jars_on, jute_type
from tests.support.jute_grammar import JuteSyntaxError, Map, Primitive, Reference, Vector, layouts, notes, parse
from zkwire import codes, records
from zkwire.explain.dump import CODES, HEXADECIMAL
from zkwire.jute import Record
from zkwire.jute.record import Field
from zkwire.jute.types import FixedType

Layout = list[tuple[str, str]]

TEXT = Path(__file__).parents[2].joinpath("vendor-jute", "zookeeper.jute").read_text(encoding="utf-8")
DECLARED: dict[str, Layout] = layouts(TEXT)


def snake_case(name: str) -> str:
    """ZooKeeper's field name as zkwire spells it: `lastZxidSeen` is `last_zxid_seen`."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda capital: "_" + capital[0].lower(), name)


# ---- with zkwire/records.py ----

RECORDS: dict[str, type[Record]] = {
    name: value
    for name, value in vars(records).items()
    if isinstance(value, type) and issubclass(value, Record) and value is not Record
}


def test_records_are_those_of_the_jute_file() -> None:
    assert sorted(RECORDS) == sorted(DECLARED)


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_record_has_the_fields_of_the_jute_file(name: str) -> None:
    fields = [(field.name, str(field.type)) for field in RECORDS[name].FIELDS]
    assert fields == [(snake_case(field), type_text) for field, type_text in DECLARED[name]]


# ---- the notes of the fields ----

FIELDS = [(name, field) for name, record in RECORDS.items() for field in record.FIELDS]
every_field = pytest.mark.parametrize(("name", "field"), FIELDS, ids=[f"{name}.{field.name}" for name, field in FIELDS])
NOTES = {(name, snake_case(field)): note for name, found in notes(TEXT).items() for field, note in found.items()}


@every_field
def test_every_int_long_and_boolean_has_a_note(name: str, field: Field) -> None:
    assert field.note or not isinstance(field.type, FixedType), "unit, enum or range?"


@every_field
def test_note_in_records_is_that_of_the_jute_file(name: str, field: Field) -> None:
    assert field.note == NOTES.get((name, field.name), "")


@pytest.mark.parametrize(("place", "note"), NOTES.items(), ids=map(".".join, NOTES))
def test_note_in_the_jute_file_is_that_of_records(place: tuple[str, str], note: str) -> None:
    name, field = place
    assert {each.name: each.note for each in RECORDS[name].FIELDS}[field] == note


#: Fields with an enum whose numbers dumps print as they are, or as the names of operations.
ENUMS = {
    "RequestHeader.type": codes.OpCode,
    "MultiHeader.type": codes.OpCode,
    "ACL.perms": codes.Perms,
    "CheckWatchesRequest.type": codes.WatcherType,
    "RemoveWatchesRequest.type": codes.WatcherType,
    "AddWatchRequest.mode": codes.AddWatchMode,
}


@every_field
def test_note_names_the_enum_of_its_field_or_what_a_hexadecimal_number_is(name: str, field: Field) -> None:
    """If dumps print a field as a name or in hexadecimal, its note says so."""
    place = f"{name}.{field.name}"
    kind = ENUMS.get(place, CODES.get(place, CODES.get(field.name)))
    if kind is not None:
        assert re.search(rf"\b{kind.__name__}\b", field.note)
    if field.name in HEXADECIMAL:
        assert re.search("zxid|session", field.note)


def test_numbers_with_a_name_in_the_notes_are_those_of_codes() -> None:
    """READ 1 and 3 (SYNC_CONNECTED), in notes that name Perms and KeeperState."""
    seen = 0
    for (name, field), note in NOTES.items():
        enums: list[Any] = [getattr(codes, word) for word in re.findall(r"\w+", note) if hasattr(codes, word)]
        pairs = [(word, number) for word, number in re.findall(r"\b([A-Z][A-Z_]+) (-?\d+)\b", note)]
        pairs += [(word, number) for number, word in re.findall(r"(-?\d+) \(([A-Z][A-Z_]+)\)", note)]
        for word, number in pairs:
            seen += 1
            assert int(number) in [int(kind[word]) for kind in enums if word in kind.__members__], (name, field, word)
    assert seen >= 8


# ---- the parser of the grammar ----


def module(body: str) -> str:
    return "module m {\n" + body + "\n}"


def test_parse_keeps_classes_and_fields_in_order() -> None:
    text = module("class B { int z; int a; }\nclass A { }")
    assert list(layouts(text).items()) == [("B", [("z", "int"), ("a", "int")]), ("A", [])]


@pytest.mark.parametrize("name", ["byte", "boolean", "int", "long", "float", "double", "ustring", "buffer"])
def test_parse_knows_primitive(name: str) -> None:
    assert parse(module(f"class A {{ {name} f; }}"))["A"].fields[0].type == Primitive(name)


def test_parse_nests_vectors_and_maps() -> None:
    text = module("class A { vector< vector<ustring>> f; map<ustring, vector<map<int,B>>> g; }\nclass B { int x; }")
    first, second = parse(text)["A"].fields
    assert first.type == Vector(Vector(Primitive("ustring")))
    assert second.type == Map(Primitive("ustring"), Vector(Map(Primitive("int"), Reference("m", "B"))))
    assert [str(first.type), str(second.type)] == ["vector<vector<ustring>>", "map<ustring,vector<map<int,B>>>"]


def test_parse_resolves_record_names_within_and_across_modules() -> None:
    text = """
        module x.proto { class Reply { x.data.Stat stat; Header header; } class Header { int xid; } }
        module x.data { class Stat { long czxid; } }
    """
    parsed = parse(text)
    assert [field.type for field in parsed["Reply"].fields] == [
        Reference("x.data", "Stat"),
        Reference("x.proto", "Header"),
    ]
    assert layouts(text)["Reply"] == [("stat", "Stat"), ("header", "Header")]
    assert parsed["Stat"].module == "x.data"


def test_parse_skips_comments_anywhere() -> None:
    text = """// module no { }
        /* class No { int no; } // still inside
         ** */ module m { class /* x */ A { // int no;
            int /* ustring */ yes; /* int no; */ }
        } /**/ // the end, without a newline"""
    assert layouts(text) == {"A": [("yes", "int")]}


def test_parse_of_nothing_is_empty() -> None:
    assert parse(" // nothing\n") == {}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("module m {\n class A {\n  int x\n }\n}", 4, "expected ';', found '}'"),
        ("module m {\n class A {\n  int x;\n", 4, "expected a type, found the end of the text"),
        ("module m {", 1, "expected 'class', found the end of the text"),
        ("class A { }", 1, "expected 'module', found 'class'"),
        ("module m {\n struct A { }\n}", 2, "expected 'class', found 'struct'"),
        ("module m { class A { vector<int x; } }", 1, "expected '>', found 'x'"),
        ("module m { class A { map<int> x; } }", 1, "expected ',', found '>'"),
        ("module m { class A {\n int int; } }", 2, "expected a field name, found 'int'"),
        ("module m { class A {\n int a.b; } }", 2, "expected a field name, found 'a.b'"),
        ("module m {\n class a.B { } }", 2, "expected a class name, found 'a.B'"),
        ("module m { class A {\n  int x = 1; } }", 2, "unexpected character '='"),
        ("module m { class A {\n  int 1x; } }", 2, "unexpected character '1'"),
        ("module m {\n/* one\ntwo */ class A {\n Stat s; } }", 4, "no record m.Stat"),
        ("module m { class A { n.B b; } }\nmodule o { class B { } }", 1, "no record n.B"),
        ("module m { class A { }\n class A { } }", 2, "class A is declared twice"),
        ("module m { class A { int x;\n long x; } }", 2, "field x is declared twice in A"),
        ("module m {\n\n/* class A { } }\n", 3, "comment is never closed"),
    ],
)
def test_parse_names_the_line_of_bad_text(text: str, line: int, problem: str) -> None:
    with pytest.raises(JuteSyntaxError) as caught:
        parse(text)
    assert (caught.value.line, str(caught.value)) == (line, f"line {line}: {problem}")


# ---- the reader of class files ----


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("I", "int"),
        ("J", "long"),
        ("Z", "boolean"),
        ("[B", "buffer"),
        ("Ljava/lang/String;", "ustring"),
        ("Lorg/apache/zookeeper/data/Stat;", "Stat"),
        ("Ljava/util/List<Lorg/apache/zookeeper/data/ACL;>;", "vector<ACL>"),
        ("Ljava/util/List<Ljava/util/List<Ljava/lang/Long;>;>;", "vector<vector<long>>"),
        ("Ljava/util/Map<Ljava/lang/String;Ljava/util/List<[B>;>;", "map<ustring,vector<buffer>>"),
    ],
)
def test_java_type_has_its_jute_type(signature: str, text: str) -> None:
    assert jute_type(signature) == text


@pytest.mark.parametrize(
    "signature",
    ["", "C", "II", "[I", "Ljava/util/List;", "Ljava/util/List<I", "Ljava/util/List<IJ>;", "Ljava/lang/Object;"],
)
def test_java_type_that_jute_never_generates_is_refused(signature: str) -> None:
    with pytest.raises(ClassFileError, match=re.escape(f": {signature}")):
        jute_type(signature)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"\xca\xfe\xba\xbe\x00\x00", struct.pack(">IIHB", 0xCAFEBABE, 52, 2, 99)]
)
def test_bytes_that_are_no_class_file_are_refused(data: bytes) -> None:
    with pytest.raises(ClassFileError):
        ClassFile(data)


def test_jars_of_a_classpath_include_those_that_manifests_name(tmp_path: Path) -> None:
    def write_jar(name: str, class_path: str) -> Path:
        # Java breaks the lines of a manifest after 72 bytes, wherever that falls.
        lines = re.findall(".{1,70}", f"Class-Path: {class_path}")
        with zipfile.ZipFile(tmp_path / name, "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", "\r\n ".join(lines) + "\r\nCreated-By: test\r\n")
        return tmp_path / name

    far = write_jar("a-jar-with-a-name-long-enough-to-be-broken.jar", "server.jar")
    near = write_jar("near.jar", "absent.jar")
    server = write_jar("server.jar", f"near.jar {far}")
    assert jars_on(os.pathsep.join([str(tmp_path), str(server)])) == [server, near, far]
