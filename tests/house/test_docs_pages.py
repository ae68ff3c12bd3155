"""The generated pages: they are what the declarations make of them, and session.html does in a browser what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.generate import protocol, session, words
from docs.generate.__main__ import main
from tests.support.chromium import Chromium
from tests.support.dialogues import frames, read
from zkwire.codes import ErrorCode, EventType
from zkwire.explain.describe import RECORDS
from zkwire.frames import frame
from zkwire.operations import BY_OPCODE
from zkwire.traffic.conversation import SeenFrame

HTML = session.PAGE.read_text(encoding="utf-8")
RECORDED = [frame(payload) for _, payload in frames(read(session.RECORDING.read_bytes()))]


def test_committed_pages_are_what_is_generated(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capfd.readouterr().err


def test_a_page_that_differs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr("docs.generate.__main__.PAGES", {page: lambda: "new"})
    assert main(["--check"]) == 1
    page.write_text("old")
    assert main(["--check"]) == 1
    assert f"{page} is out of date" in capfd.readouterr().err
    assert main([]) == 0
    assert page.read_text() == "new"
    assert main(["--check"]) == 0


# --- protocol.md


def test_every_link_of_the_reference_leads_somewhere() -> None:
    text = protocol.page()
    anchors = {re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
               for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}  # fmt: skip
    assert len(anchors) == len(re.findall(r"^#+ ", text, re.MULTILINE))
    for target in set(re.findall(r"\]\(([^)]+)\)", text)):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (protocol.PAGE.parent / target).exists(), target


def test_the_reference_has_every_operation_record_error_and_event() -> None:
    text = protocol.page()
    for row in BY_OPCODE.values():
        assert f"\n### {row.name}\n\nOpcode {row.opcode:d}" in text
    for name, kind in RECORDS.items():
        assert f"\n### {name} record\n" in text
        for field in getattr(kind, "FIELDS", ()):
            assert f"| `{field.name}` |" in text
    for code in (*(code for code in ErrorCode if code), *EventType):
        assert f"| {code:d} | `{code.name}` |" in text


# --- session.html, as text


class Page(HTMLParser):
    """What the tests look for in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.articles: list[bytes] = []
        self.sizes: list[int] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.tags.append((tag, found))
        if tag in ("meta", "link"):
            return
        self._open.append(found.get("class", tag))
        if tag == "article":
            self.articles.append(b"")
        if "data-size" in found:
            self.sizes.append(int(found["data-size"]))
        if found.get("class") in ("hex", "label", "value", "tip", "story", "sentence"):
            self.texts.setdefault(found["class"], []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in {"hex", "label", "value", "tip", "story", "sentence"} & set(self._open):
            self.texts[name][-1] += data
        if "hex" in self._open:
            self.articles[-1] += bytes.fromhex(data)


@pytest.fixture(scope="module")
def parsed() -> Page:
    page = Page()
    page.feed(HTML)
    return page


def test_every_byte_of_every_frame_is_shown_in_a_field(parsed: Page) -> None:
    assert parsed.articles == RECORDED
    assert parsed.sizes == [len(data) for data in RECORDED]


def test_every_field_has_label_value_and_explanation(parsed: Page) -> None:
    counts = {name: len(texts) for name, texts in parsed.texts.items()}
    assert counts["hex"] == counts["label"] == counts["value"] == counts["tip"] > 150
    assert counts["story"] == counts["sentence"] == len(RECORDED)
    assert all(text.strip() for texts in parsed.texts.values() for text in texts)
    assert all(len(tip) > len(label) + 20 for tip, label in zip(parsed.texts["tip"], parsed.texts["label"]))


def test_every_explanation_begins_with_the_note_of_the_record(parsed: Page) -> None:
    """Unit, enum and range stand in zkwire/records.py only."""
    spans = [
        span
        for each in session.frames()
        if isinstance(each.what, SeenFrame)
        for span in session.fields(each.what.frame)
    ]
    notes = [words.note_of(span.path) for span in spans]
    assert sum(map(bool, notes)) > 100
    assert words.note_of("GetDataResponse.stat.czxid") == "zxid of the create"
    assert words.note_of("CreateRequest.acl[0].perms").startswith("bit set of Perms")
    for tip, note in zip(parsed.texts["tip"], notes):
        assert note[1:] in tip
    source = Path(words.__file__).read_text(encoding="utf-8")
    assert not re.search("millisecond|16 bytes|-1 for any|1970", source)


def test_ids_are_unique_and_descriptions_are_there(parsed: Page) -> None:
    ids = [found["id"] for _, found in parsed.tags if "id" in found]
    assert len(ids) == len(set(ids))
    for _, found in parsed.tags:
        for name in ("aria-describedby", "aria-labelledby"):
            assert found.get(name, ids[0]) in ids


def test_the_page_needs_nothing_else(parsed: Page) -> None:
    assert not [found for _, found in parsed.tags if "src" in found]
    assert "@import" not in HTML
    assert "url(" not in HTML
    links = {found["href"] for _, found in parsed.tags if "href" in found}
    assert links == {"data:,", "session.pcap", "protocol.md"}
    assert all((session.DOCS / link).exists() for link in links - {"data:,"})


def test_the_session_is_what_was_promised() -> None:
    """Connect, create-ephemeral, watch, event, ping, expiry, close."""
    labels = [text.strip() for text in re.findall(r'<span class="name">(.*?)</span>', HTML)]
    assert {"ConnectRequest", "create", "getData", "event", "ping", "closeSession"} <= set(labels)
    assert "1 (EPHEMERAL)" in HTML
    assert "The server refuses the session" in HTML


def test_a_field_of_which_nothing_is_said_is_an_error() -> None:
    with pytest.raises(KeyError):
        words.of_field("CheckWatchesRequest.mode", 0)


# --- session.html, in Chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as started:
        yield started


SHAPES = pytest.mark.parametrize(("width", "dark"), [(360, False), (1280, False), (360, True), (1280, True)])

#: Elements that reach beyond the window, other than those that are not shown.
OVERFLOW = """
[...document.querySelectorAll('body *')].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(each => each.className || each.tagName)
"""

SHOWN = """
[...document.querySelectorAll('.tip')].filter(each => getComputedStyle(each).display !== 'none').map(each => each.id)
"""

#: For each field: what is wrong when it has the focus.
FOCUS_EACH = """
[...document.querySelectorAll('.fields button')].map(button => {
  button.focus();
  const tip = document.getElementById(button.getAttribute('aria-describedby'));
  const box = tip.getBoundingClientRect(), place = button.getBoundingClientRect();
  const shown = [...document.querySelectorAll('.tip')].filter(each => getComputedStyle(each).display !== 'none');
  const wrong = [];
  if (shown.length !== 1 || shown[0] !== tip) wrong.push('shown: ' + shown.map(each => each.id));
  if (box.top < 0 || box.bottom > innerHeight + 0.5) wrong.push('above or below');
  if (box.left < 0 || box.right > innerWidth + 0.5) wrong.push('beside');
  if (tip.innerText.trim().length < 20) wrong.push('no text');
  if (place.bottom > box.top + 0.5 || place.top < 0) wrong.push('hidden by it');
  if (getComputedStyle(button).outlineStyle === 'none') wrong.push('no outline');
  if (document.documentElement.scrollWidth > innerWidth) wrong.push('overflow');
  return wrong.length ? tip.id + ': ' + wrong : '';
}).filter(each => each)
"""

#: The least contrast of any text with what is behind it, by WCAG's formula.
CONTRAST = """
(() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = each => {
    for (; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('h1, h2 span, p, .legend li, a, code, .fields span')];
  return Math.min(...texts.map(each => {
    const style = getComputedStyle(each), back = behind(each), alpha = Number(style.opacity);
    const ink = channels(style.color).slice(0, 3).map((v, i) => v * alpha + back[i] * (1 - alpha));
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
})()
"""


@SHAPES
def test_nothing_overflows_and_nothing_goes_wrong(browser: Chromium, width: int, dark: bool) -> None:
    browser.show(session.PAGE, width=width, dark=dark)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOW) == []
    assert browser.problems == []
    assert browser.requests == [session.PAGE.as_uri()]


@SHAPES
def test_focus_shows_the_explanation_of_every_field(browser: Chromium, width: int, dark: bool) -> None:
    browser.show(session.PAGE, width=width, height=700, dark=dark)
    assert browser.evaluate(SHOWN) == []
    assert browser.evaluate("document.querySelectorAll('.fields button').length") == HTML.count("<button")
    assert browser.evaluate(FOCUS_EACH) == []
    assert browser.problems == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_what_is_behind_it(browser: Chromium, dark: bool) -> None:
    browser.show(session.PAGE, dark=dark)
    assert browser.evaluate(CONTRAST) >= 4.5  # WCAG 2, level AA


def test_pointing_at_a_field_shows_its_explanation_above_that_of_the_focus(browser: Chromium) -> None:
    browser.show(session.PAGE)
    browser.evaluate("document.querySelectorAll('.fields button')[0].focus()")
    box = browser.evaluate("document.querySelectorAll('.fields button')[3].getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    browser.point(x, y)
    assert browser.evaluate(SHOWN) == ["f1-0", "f1-3"]
    front = "document.elementFromPoint(innerWidth / 2, innerHeight - 8).closest('.tip').id"
    assert browser.evaluate(front) == "f1-3"
    browser.point(1, 1)
    assert browser.evaluate(SHOWN) == ["f1-0"]


def test_keys_go_from_field_to_field(browser: Chromium) -> None:
    browser.show(session.PAGE)
    browser.press("Tab", 9)
    assert browser.evaluate(SHOWN) == ["f1-0"]
    for key, code, shown in (
        ("Tab", 9, ["f1-1"]), ("ArrowRight", 39, ["f1-2"]), ("ArrowDown", 40, ["f1-3"]), ("ArrowLeft", 37, ["f1-2"]),
        ("ArrowUp", 38, ["f1-1"]), ("Escape", 27, []),
    ):  # fmt: skip
        browser.press(key, code)
        assert browser.evaluate(SHOWN) == shown
    assert browser.problems == []


def test_it_works_without_javascript(browser: Chromium) -> None:
    browser.show(session.PAGE, scripts=False)
    for place in range(3):
        browser.press("Tab", 9)
        assert browser.evaluate(SHOWN) == [f"f1-{place}"]
    browser.press("ArrowRight", 39)  # which only the script knows
    assert browser.evaluate(SHOWN) == ["f1-2"]
