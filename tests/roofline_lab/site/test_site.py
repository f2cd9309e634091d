"""What a site holds, and that it is complete or absent."""

from __future__ import annotations

import html
import posixpath
import re
from urllib.parse import unquote

import pytest

from roofline_lab.site import build, libraries
from roofline_lab.site.build import build_site
from simulator.errors import ConfigError
from tests.roofline_lab.builders import HYPOTHESIS
from tests.roofline_lab.site.conftest import NASTY, SYNTHETIC
from tests.roofline_lab.snakemake_runs import EXPERIMENTS


def text(site, name):
    return (site / name).read_text(encoding="utf-8")


def dead_links(site):
    """Return every link of every page whose file or anchor is not there."""
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    anchors = {name: set(re.findall(r'\bid="([^"]*)"', content)) for name, content in pages.items()}
    dead = []
    for name, content in pages.items():
        for link in map(html.unescape, re.findall(r'(?:href|src)="([^"]*)"', content)):
            path, _, anchor = link.partition("#")
            path = path.partition("?")[0]
            there = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path))) if path else name
            if "://" in link or link.startswith("data:"):
                continue
            # After `=` an anchor is a selection of a table, which no element has to bear.
            if not (site / there).is_file() or (anchor and "=" not in anchor and anchor not in anchors[there]):
                dead.append(f"{name}: {link}")
    return dead


def test_every_link_of_every_page_leads_somewhere(site):
    assert len(list(site.rglob("*.html"))) > 30
    assert dead_links(site) == []


def test_nothing_is_loaded_from_a_network(site):
    loading = re.compile(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//')
    assert [path.name for path in site.rglob("*.html") if loading.search(path.read_text(encoding="utf-8"))] == []


def test_every_report_has_its_page_its_plots_and_its_numbers(site):
    for name in ("FINDINGS", "explore", "numbers"):
        assert (site / "reports" / HYPOTHESIS / f"{name}.html").is_file()
    for name in ("FINDINGS", "numbers"):
        assert (site / "reports" / SYNTHETIC / f"{name}.html").is_file()
    assert not (site / "reports" / SYNTHETIC / "explore.html").exists(), "generated points have no measurement"


def test_a_title_with_html_markdown_and_jinja_appears_as_text(site):
    page = text(site, f"reports/{SYNTHETIC}/FINDINGS.html")
    shown = html.unescape(re.search(r"<h1>(.*?)</h1>", page)[1])
    assert shown == f"H6: {NASTY}"
    assert "<b>Bold" not in page
    assert "document.title='x'</script>" not in text(site, "index.js"), "it would end the script it stands in"


def test_the_front_page_tells_the_best_model_with_its_interval_and_links_its_page(site):
    front = text(site, "index.html")
    assert re.search(r"<strong>\d+\.\d %</strong> mean absolute error", front)
    assert re.search(r"interval \d+\.\d to \d+\.\d %", front)
    assert 'href="reports/calibration/h100_vllm/CALIBRATION.html"' in front


def test_the_error_of_the_best_model_is_the_one_on_its_own_page(site):
    told = re.search(r"<strong>(\d+\.\d) %</strong>", text(site, "index.html"))[1]
    page = text(site, "reports/calibration/h100_vllm/CALIBRATION.html")
    row = re.search(r"<td[^>]*>all client load points</td>\s*<td[^>]*>held out</td>.*?</tr>", page, re.DOTALL)[0]
    assert f"{told} %" in row


def test_an_experiment_has_a_page_with_its_source_and_its_flags(site, small_project):
    page = text(site, f"ground_truth/{EXPERIMENTS[0]}.html")
    (experiment,) = (each for each in small_project.experiments(HYPOTHESIS) if each.id == EXPERIMENTS[0])
    assert html.escape(experiment.source.document, quote=False)[:60] in page
    for point in experiment.load_points:
        assert f'<th scope="row">{point.id}</th>' in page


def test_a_build_that_fails_leaves_an_earlier_site_as_it_was(small_project, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "require_libraries", lambda: None)
    monkeypatch.setattr(build, "site_files", lambda project: {"index.html": b"new", "index.html/below": b"impossible"})
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("old")
    with pytest.raises(OSError, match=r"index\.html"):
        build_site(small_project, folder)
    assert (folder / "index.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_the_same_sources_make_the_same_bytes(site, small_project):
    assert all((site / name).read_bytes() == content for name, content in build.site_files(small_project).items())


def test_missing_packages_are_all_named_with_how_to_install_them(small_project, tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=r"markdown-it-py, itables, pdoc, plotly.*make setup"):
        build_site(small_project, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("text", ["export{a as b};", "export{a as default};export{b as default};"])
def test_a_bundle_of_another_form_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "FILES", {"datatables.js": ("itables", "bundle.js")})
    monkeypatch.setattr(libraries, "_content", lambda package, path: text.encode())
    with pytest.raises(ConfigError, match="exports DataTables in another way"):
        libraries.library_files()


def test_a_package_without_its_script_is_refused(monkeypatch):
    monkeypatch.setattr(libraries, "FILES", {"plotly.js": ("json", "no/such.js")})
    with pytest.raises(ConfigError, match=r"package json: has no no/such\.js"):
        libraries.library_files()
