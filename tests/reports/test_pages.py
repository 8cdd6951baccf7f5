"""The page is one file that needs nothing else, reads well and can be walked by keyboard."""

import base64
import html.parser
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from jaxcnn.reports.pages import Picture, Section, Table, write_page

VOID = {"meta", "link", "img", "br"}


class Outline(html.parser.HTMLParser):
    """The tags of a page, checked to be closed in order, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(path):
    found = Outline()
    found.feed(path.read_text("utf-8"))
    assert not found.open
    return found


@pytest.fixture
def page(tmp_path):
    picture = tmp_path / "some_map.png"
    Image.fromarray(np.zeros((40, 1200, 3), np.uint8)).save(picture)
    rows = [(f"layer {i} <&>", "x" * 60, f"{i:,}") for i in range(30)]
    sections = [
        Section(
            "First & last", "One line.\nAnother <line>.", [Picture(picture, 'A "map"', "Black")]
        ),
        Section("Tables", "", [Table("Layers", ("name", "kind", "n"), rows, folded=True)]),
        Section("Small", "", [Table("Numbers", ("a", "b"), [("1", "2")])]),
    ]
    return write_page(tmp_path / "report.html", "Inside <lenet>", "A summary.", sections)


def test_the_page_says_all(page):
    found = outline(page)
    text = "".join(found.text)
    for said in ("Inside <lenet>", "A summary.", "One line.", "Another <line>.", "layer 29 <&>"):
        assert said in text
    assert [tag for tag, _ in found.tags if tag in ("h1", "h2")] == ["h1", "h2", "h2", "h2"]


def test_pictures_are_inside(page, tmp_path):
    sources = [attrs for tag, attrs in outline(page).tags if tag == "img"]
    ((kind, data),) = [attrs["src"].split(",") for attrs in sources]
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (tmp_path / "some_map.png").read_bytes()
    assert sources[0]["alt"] == 'A "map"'


def test_nothing_is_fetched(page):
    found = outline(page)
    assert "script" not in [tag for tag, _ in found.tags]
    for _, attrs in found.tags:
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert not re.search(r"url\(|@import|https?:", page.read_text("utf-8"))


def test_links_lead_to_headings_and_wide_parts_take_the_keyboard(page):
    tags = outline(page).tags
    places = {attrs["id"] for _, attrs in tags if "id" in attrs}
    links = [attrs["href"][1:] for tag, attrs in tags if tag == "a"]
    assert links[0] == "main"
    assert len(links) == 4
    assert set(links) <= places
    wide = [attrs for _, attrs in tags if attrs.get("class") == "wide"]
    assert len(wide) == 3
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in wide)
    assert [tag for tag, _ in tags].count("details") == 1


def test_a_missing_picture(tmp_path):
    section = Section("One", "", [Picture(tmp_path / "none.png", "None")])
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        write_page(tmp_path / "report.html", "Title", "", [section])


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
MEASURE = """<iframe id="f" src="report.html" style="width:400px;height:800px;border:0"></iframe>
<pre id="said"></pre><script>
window.onload = () => {
  const page = document.getElementById("f").contentDocument, root = page.documentElement;
  const stops = [...page.querySelectorAll("a[href], summary, [tabindex='0']")];
  const focused = stops.filter(e => { e.focus(); return page.activeElement === e; });
  const wide = [...page.querySelectorAll(".wide")].filter(e => e.clientWidth > 400);
  document.getElementById("said").textContent = JSON.stringify([
    root.scrollWidth <= 400, stops.length, focused.length, wide.length,
    [...page.images].every(i => i.complete && i.naturalWidth > 0)]);
};</script>"""


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open the page with")
def test_in_a_browser_400_pixels_wide(page):
    (page.parent / "outer.html").write_text(MEASURE)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [
        BROWSER, *options, profile, "--virtual-time-budget=5000", "--enable-logging=stderr",
        "--dump-dom", (page.parent / "outer.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert '<pre id="said">[true,8,7,0,true]</pre>' in done.stdout
    assert "CONSOLE" not in done.stderr
