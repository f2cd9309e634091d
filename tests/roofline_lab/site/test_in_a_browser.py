"""The site in a real browser, opened from files: every page of it, and what a reader does with them.

Needs the extra `browser` and a Chromium of the system; without them every test here is skipped and says why.
`SITE=FOLDER` opens a site made before instead of that of a small laboratory.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.roofline_lab.builders import HYPOTHESIS
from tests.roofline_lab.site.conftest import NASTY, SYNTHETIC

HOW = "pip install 'roofline-lab[site,browser]'"
playwright = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed: {HOW}")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=f"axe is not installed: {HOW}")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"),
    # Of the browser's driver when it ends; nothing a page does.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
EXPLORE, NUMBERS, FINDINGS = (f"reports/{HYPOTHESIS}/{name}.html" for name in ("explore", "numbers", "FINDINGS"))
# One page of every kind.
KINDS = (
    "index.html",
    FINDINGS,
    EXPLORE,
    NUMBERS,
    "calibration.html",
    "ground_truth/index.html",
    "ground_truth/load_points.html",
    "ground_truth/flags.html",
    "ground_truth/jan30-llama2-7b-tp1-chatsweep.html",
    "docs/README.html",
    "docs/site.html",
    "search.html?q=bandwidth",
)
GRAVE = ("serious", "critical")
# Axe would fetch the styles once more, which no browser allows from a file.
FROM_FILES = {"preload": False}


@pytest.fixture(scope="module")
def folder(request):
    """Return the folder of the site under test."""
    made = os.environ.get("SITE")
    return Path(made).resolve() if made else request.getfixturevalue("site")


@pytest.fixture(scope="module")
def browser():
    """Return a running browser."""
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def window(browser, folder):
    """Return a way to open a page, which fails on any error in its console."""
    faults = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(f"{request.url} did not load"))

    def go(address):
        name, mark, rest = re.match(r"([^?#]*)([?#]?)(.*)", address).groups()
        page.goto("about:blank")  # which ends what the page before still loads
        faults.clear()
        page.goto((folder / name).as_uri() + mark + rest, wait_until="load")
        assert faults == [], address
        return page

    return go


@pytest.fixture
def narrow(window):
    """Let pages open as on a telephone."""
    page = window("docs/README.html")
    page.set_viewport_size({"width": 390, "height": 800})
    yield
    page.set_viewport_size({"width": 1280, "height": 900})


def cells(page, column):
    return page.locator(f"table.data tbody tr td:nth-child({column})").all_inner_texts()


def sort(header, order):
    """Click on a header until its column has an order; sorting takes a moment."""
    header.click()
    playwright.expect(header).to_have_attribute("aria-sort", order)


def test_every_page_opens_without_an_error(window, folder):
    for path in sorted(folder.rglob("*.html")):
        page = window(path.relative_to(folder).as_posix())
        assert page.locator("h1").inner_text().strip()


def test_search_finds_h1_first(window):
    page = window("index.html")
    page.fill("header input", "H1")
    page.press("header input", "Enter")
    page.wait_for_selector("#results a")
    assert page.locator("#results a").first.get_attribute("href") == FINDINGS


def test_search_says_so_when_nothing_is_found(window):
    assert "0 sections" in window("search.html?q=qqqqzzzz").locator("#found").inner_text()


def test_a_click_on_a_header_sorts_and_another_turns_the_order(window):
    page = window(EXPLORE)
    page.wait_for_selector(".plot .legend")
    header = page.locator("table.data thead th", has_text="Measured")
    place = page.locator("table.data thead th").all_inner_texts().index(header.inner_text()) + 1
    sort(header, "ascending")
    rising = [float(text.replace(",", "")) for text in cells(page, place)]
    sort(header, "descending")
    falling = [float(text.replace(",", "")) for text in cells(page, place)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert len(set(rising)) > 1
    assert "sort=measured.desc" in page.url


def test_a_header_sorts_from_the_keyboard(window):
    page = window("ground_truth/load_points.html")
    page.locator("table.data thead th .dt-column-order").first.focus()
    page.keyboard.press("Enter")
    names = cells(page, 1)
    assert names == sorted(names)
    assert "sort=experiment.asc" in page.url


def test_a_table_of_a_written_page_sorts(window):
    page = window(FINDINGS)
    table = page.locator("article table:has(tbody tr:nth-child(4))").first
    table.scroll_into_view_if_needed()
    header = table.locator("thead th").first
    header.locator(".dt-column-order").wait_for()
    sort(header, "ascending")
    names = table.locator("tbody tr td:first-child").all_inner_texts()
    assert names == sorted(names, key=str.lower)
    sort(header, "descending")
    assert table.locator("tbody tr td:first-child").all_inner_texts() == names[::-1]


def test_a_filter_leaves_its_rows_alone_and_its_address_shows_the_same_again(window):
    page = window(EXPLORE)
    before = page.locator(".count").inner_text()
    page.select_option("#choose-arm", "treatment")
    place = page.locator("table.data thead th").all_inner_texts().index("Arm") + 1
    assert set(cells(page, place)) == {"treatment"}
    told = page.locator(".count").inner_text()
    assert told != before
    again = window(f"{EXPLORE}#{page.url.partition('#')[2]}")
    assert again.input_value("#choose-arm") == "treatment"
    assert again.locator(".count").inner_text() == told


def test_the_plots_show_what_the_filters_leave(window):
    page = window(EXPLORE)
    page.wait_for_selector(".plot .legend")
    page.select_option("#choose-arm", "treatment")
    page.wait_for_function("document.querySelector('.plot').querySelectorAll('.legend .traces').length === 1")


def test_hovering_over_a_point_shows_its_values(window):
    page = window(EXPLORE)
    page.wait_for_selector(".plot .points path")
    page.locator(".plot").first.scroll_into_view_if_needed()
    box = page.locator(".plot .scatterlayer .points path").last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 1, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".hoverlayer .hovertext")
    assert re.search(
        r"measured [\d.]+ ms, predicted [\d.]+ ms", page.locator(".hoverlayer .hovertext").first.text_content()
    )


def test_a_number_on_a_page_leads_to_the_row_it_was_rounded_from(window):
    page = window(FINDINGS)
    number = page.locator("a.number:not([href*=','])", has_text="%").first
    shown = number.inner_text().rstrip(" %")
    number.click()
    page.wait_for_selector("tr.chosen")
    values = page.locator("tr.chosen td:nth-child(9)").all_inner_texts()
    assert len(values) == 1
    assert f"{abs(float(values[0])):.1f}" == shown.lstrip("+-")


def test_a_title_with_html_markdown_and_jinja_appears_as_text(window, folder):
    if os.environ.get("SITE"):
        pytest.skip("only the small laboratory has such a title")
    page = window("index.html")
    assert NASTY in page.locator("table.data").inner_text()
    assert page.title() != "x"
    assert window(f"reports/{SYNTHETIC}/FINDINGS.html").locator("h1").inner_text() == f"H6: {NASTY}"


def test_a_printed_page_has_no_navigation_and_dark_ink(window):
    page = window(FINDINGS)
    page.emulate_media(media="print")
    try:
        assert not page.locator("header").is_visible()
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    finally:
        page.emulate_media(media="screen")


def test_light_and_dark_are_kept_from_page_to_page(window):
    page = window("index.html")
    was = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != was
    again = window("docs/README.html")
    assert again.evaluate("getComputedStyle(document.body).backgroundColor") != was
    again.click("#theme")


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_screen_scrolls_down_only(window, narrow, kind):
    page = window(kind)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_grave_fault(window, dark):
    found = []
    for kind in KINDS:
        page = window(kind)
        page.evaluate(f"window.theme.set({str(dark).lower()})")
        page.wait_for_load_state("networkidle")
        for fault in axe.Axe().run(page, options=FROM_FILES).response["violations"]:
            if fault["impact"] in GRAVE:
                found += [f"{kind}: {fault['id']}: {node['html'][:120]}" for node in fault["nodes"][:2]]
    assert found == []
