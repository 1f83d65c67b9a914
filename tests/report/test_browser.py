"""report.html in a real browser without a window: no error, nothing wider than the page, readable in light and dark."""

import functools
import json
import re
import shutil
import subprocess

import pytest

from ltjax.report.page import POLICY
from tests.report.synthetic import CIFAR10, counts_of, results_of, results_of_seeds
from tests.report.test_page import page_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# What the page is asked at two widths. A frame, because a window has a smallest width.
FRAMES = """<!doctype html><body><script>
const frames = [];
for (const width of [400, 1280]) {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px";
  frame.srcdoc = PAGE;
  frames.push(new Promise(done => frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    const charts = [...page.querySelectorAll("svg[role=img]")], wide = [];
    for (const one of page.querySelectorAll("body *"))
      if (!one.closest(".scroll, pre, svg") && one.getBoundingClientRect().right > width + 1)
        wide.push(one.tagName + "." + one.className);
    const broken = [...page.images].filter(one => !one.naturalWidth).length;
    const empty = charts.filter(one => one.getBoundingClientRect().height < 40).length;
    const style = page.defaultView.getComputedStyle(page.body);
    done({width, scroll: root.scrollWidth, client: root.clientWidth, wide, broken, empty, charts: charts.length,
          ink: style.color, page: style.backgroundColor});
  }));
  document.body.append(frame);
}
Promise.all(frames).then(found => {
  document.body.innerHTML = "";
  document.body.dataset.found = JSON.stringify(found);
});
</script></body>"""


@functools.cache
def browser():
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def opened(folder, text, *options):
    """(what the page is at each width, the lines of its console)."""
    if browser() is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    assert text.count(POLICY) == 1
    page = json.dumps(text).replace("</", "<\\/")
    (folder / "frames.html").write_text(FRAMES.replace("PAGE", page), encoding="utf-8")
    words = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=20000")
    words += (f"--user-data-dir={folder / 'profile'}", "--dump-dom", *options)
    done = subprocess.run(
        [browser(), *words, f"file://{folder / 'frames.html'}"], capture_output=True, text=True, timeout=240
    )
    found = re.search('data-found="(.*?)"', done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(found[1].replace("&quot;", '"')), console


@pytest.mark.slow
def test_what_is_folded_is_printed(tmp_path):
    """The table of all classes and the settings: as many sheets as with all of it unfolded."""
    if browser() is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    text = page_of(tmp_path, results_of(counts_of(200, 1000, 200)))
    sheets = []
    for name, page in {"folded": text, "unfolded": text.replace("<details", "<details open")}.items():
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
        words = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
        words += (f"--print-to-pdf={tmp_path / name}.pdf", f"file://{tmp_path / name}.html")
        subprocess.run([browser(), *words], capture_output=True, timeout=240, check=True)
        sheets.append(len(re.findall(rb"/Type /Page\b", (tmp_path / f"{name}.pdf").read_bytes())))
    assert sheets[0] == sheets[1] > 5


@pytest.mark.parametrize("kind", ["10 classes, dark", pytest.param("365 classes, 3 seeds", marks=pytest.mark.slow)])
def test_the_page_opens_without_an_error_and_fits(tmp_path, kind):
    long = ("a_name_without_any_space_" * 8, *CIFAR10[1:])
    results = results_of_seeds(counts_of(365, 4980, 996), 3) if "365" in kind else results_of([9, 8] * 5, names=long)
    results["data_notes"] = ["/a/path/of/some/length" * 12]
    dark = ["--blink-settings=preferredColorScheme=0"] if "dark" in kind else []
    found, console = opened(tmp_path, page_of(tmp_path, results), *dark)
    assert not console
    assert [one["width"] for one in found] == [400, 1280]
    for one in found:
        assert one["scroll"] <= one["client"] and not one["wide"], one
        assert one["charts"] >= 9 and not one["broken"] and not one["empty"]
        light = sum(map(int, re.findall(r"\d+", one["page"])[:3])) > 380
        assert light == (not dark) and one["ink"] != one["page"]
