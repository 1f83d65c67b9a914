"""The page in a real browser: what it shows, writes and loads."""

import shutil
import socket

import pytest
from etils import epath

from ltjax.commands.demo import command, page
from ltjax.commands.demo.corrections import Corrections
from ltjax.commands.demo.neighbours import build_index
from ltjax.data.storage.list_file import read_list
from ltjax.errors import InputError
from tests.commands.demo.small_model import COLOURS, bomb, encoded, model, session, training_images

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(address, folder) of a page with neighbours."""
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'ltjax[page]'")
    folder = tmp_path_factory.mktemp("page")
    index = build_index(epath.Path(folder), "key", model(), training_images(), lambda done: None)
    blocks = page.build(session(index=index), Corrections(folder / "corrections", session().model.class_names))
    yield page.launch(blocks, "127.0.0.1", None), folder
    blocks.close(verbose=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    names = {"red.png": encoded(), "blue.jpg": encoded(COLOURS[2], (60, 40), "JPEG"), "bomb.png": bomb()}
    names["x & <b>y.png"] = encoded(COLOURS[1])
    for name, content in names.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in names]


@pytest.fixture
def tab(browser, served):
    """A tab on the page that collects what the page asks for and what its scripts complain of."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.asked, opened.complaints = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("console", lambda said: said.type == "error" and opened.complaints.append(said.text))
    opened.goto(served[0])
    opened.locator("#lt-files input[type=file]").wait_for(state="attached")
    yield opened
    opened.close()


def test_images_become_cards_and_a_correction_becomes_a_line_that_training_reads(tab, served, files):
    address, folder = served
    assert "Probabilities are not calibrated" in tab.locator(".lt-head").inner_text()
    tab.locator("#lt-files input[type=file]").set_input_files(files)
    tab.locator(".lt-card").nth(2).wait_for()
    cards = tab.locator(".lt-card")
    assert cards.count() == 3 and "red <b>rose</b>" in cards.nth(0).inner_text()
    assert "1,200 training images" in cards.nth(0).inner_text() and cards.nth(0).locator(".lt-near img").count() == 6
    assert "exceeds limit" in tab.locator(".lt-problems").inner_text()
    tab.locator("#lt-label input").click()
    tab.get_by_role("option", name="blue iris").click()
    tab.locator("#lt-button").click()
    tab.locator("#lt-status", has_text="red.png is listed as blue iris").wait_for()
    listed = read_list(folder / "corrections" / "list.txt", str(folder / "corrections"))
    assert listed.labels.tolist() == [2] and (folder / "corrections" / listed.files[0]).read_bytes() == encoded()
    assert tab.complaints == []
    elsewhere = [url for url in tab.asked if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_page(tab, files, width):
    tab.set_viewport_size({"width": width, "height": 800})
    tab.locator("#lt-files input[type=file]").set_input_files(files)
    tab.locator(".lt-card").nth(2).wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        tab.evaluate("Math.max(...[...document.querySelectorAll('.lt-card')].map(c => c.scrollWidth - c.clientWidth))")
        <= 0
    )


def test_only_this_machine_reaches_the_page(served):
    address, _ = served
    port = int(address.rstrip("/").rpartition(":")[2])
    assert address.startswith("http://127.0.0.1:")
    others = {one[4][0] for one in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for other in others:
        with pytest.raises(OSError):
            socket.create_connection((other, port), timeout=2).close()


def test_a_port_that_is_taken_is_one_line():
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'ltjax[page]'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        blocks = page.build(session(), Corrections("nowhere", session().model.class_names))
        with pytest.raises(InputError, match="cannot be used"):
            page.launch(blocks, "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(InputError, match=r"--port=.* in use.*; choose another --port"):
            page.check_address("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no such host"])
def test_an_address_of_another_machine_is_one_line(host):
    with pytest.raises(InputError, match=f"--host={host}: .*no.* address.*; give 127.0.0.1"):
        page.check_address(host, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_an_address_of_this_machine_can_be_used(host):
    page.check_address(host, None)


class Launched:
    """Stands for Gradio's page: it records how it was launched and closed."""

    def __init__(self, ends_while_starting):
        self.ends_while_starting, self.given, self.closed = ends_while_starting, {}, 0

    def launch(self, **given):
        self.given = given
        if self.ends_while_starting:
            raise KeyboardInterrupt
        return None, f"http://{given['server_name']}:7860/", None

    def close(self, verbose):
        self.closed += 1


@pytest.mark.parametrize("while_starting", [True, False])
def test_ctrl_c_ends_the_page_whenever_it_comes(while_starting, monkeypatch, capsys):
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'ltjax[page]'")

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(page.threading.Event, "wait", interrupt)
    launched = Launched(while_starting)
    page.serve(launched, "::1", None)
    assert launched.given["server_name"] == "[::1]" and launched.closed == 1
    said = capsys.readouterr()
    assert said.err == "ended\n" and ("http://[::1]:7860/" in said.out) == (not while_starting)


def test_the_page_is_served_at_an_ipv6_address():
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'ltjax[page]'")
    try:
        page.check_address("::1", None)
    except InputError:
        pytest.skip("this machine has no ::1")
    blocks = page.build(session(), Corrections("nowhere", session().model.class_names))
    address = page.launch(blocks, "::1", None)
    try:
        assert address.startswith("http://[::1]:")
        socket.create_connection(("::1", int(address.rstrip("/").rpartition(":")[2])), timeout=5).close()
    finally:
        blocks.close(verbose=False)


def test_without_gradio_the_command_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    assert command.main([f"--run={tmp_path}"]) == 2
    assert "the page needs gradio; install it with: pip install 'ltjax[page]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, words", [(["--port=0"], "allowed: 1 to 65535"), (["--run=gs://b/r"], "--corrections is")]
)
def test_impossible_flags_are_one_line(flags, words, capsys):
    assert command.main(["--run=nowhere", *flags]) == 2
    assert words in capsys.readouterr().err
