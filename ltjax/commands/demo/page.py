"""The page, by Gradio (pip install 'ltjax[page]'), which is imported here and nowhere else.

It loads nothing from elsewhere: no fonts, no scripts, no telemetry, no public link.
"""

import errno
import os
import socket
import sys
import threading
from typing import Any

from ltjax.commands.demo.cards import STYLE, cards, head, text
from ltjax.commands.demo.corrections import Corrections
from ltjax.commands.demo.session import Answer, Session
from ltjax.commands.demo.uploads import MOST_BYTES, MOST_UPLOADS, Upload, checked, read
from ltjax.data import image_formats
from ltjax.errors import InputError

ADDRESSES = "give 127.0.0.1, one of its addresses, or 0.0.0.0 for all of them"
KEPT = (600, 3600)  # seconds: every ten minutes uploads older than an hour are removed


def gradio() -> Any:
    """The module.

    Raises:
      InputError: if it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError:
        raise InputError("the page needs gradio; install it with: pip install 'ltjax[page]'") from None
    return gradio


def build(session: Session, corrections: Corrections) -> Any:
    """The page as Gradio's Blocks."""
    gr = gradio()
    names = session.model.class_names

    def classify(paths: list[str] | None) -> tuple[str, list[Upload], Any, Any]:
        uploads, problems = checked(paths or [])
        answers, unread = session.answers(uploads)
        kept = [one.upload for one in answers]
        return cards(session, answers, problems + unread), kept, listed_images(answers), gr.update(visible=bool(kept))

    def listed_images(answers: list[Answer]) -> Any:
        choices = [(f"{number}. {one.upload.name}", number - 1) for number, one in enumerate(answers, 1)]
        return gr.update(choices=choices, value=0 if choices else None)

    def correct(uploads: list[Upload], number: int | None, label: int | None) -> str:
        if number is None or label is None or not 0 <= number < len(uploads):
            return message("Choose an image and its class.")
        upload = Upload(*uploads[number])
        try:
            listed = corrections.add(upload.file, read(upload.path), int(label))
        except InputError as error:
            return message(f"{upload.name}: {error}")
        return message(f"{upload.name} is listed as {names[label]}. {corrections.path} has {listed} in all.")

    with gr.Blocks(title=f"{session.name} - ltjax", analytics_enabled=False, delete_cache=KEPT) as page:
        gr.HTML(head(session), padding=False)
        files = gr.File(
            label=f"Drop images here (at most {MOST_UPLOADS}, {MOST_BYTES // 1_000_000} MB each)", height=180,
            file_count="multiple", file_types=list(image_formats.endings()), elem_id="lt-files",
        )  # fmt: skip
        results = gr.HTML(padding=False, elem_id="lt-results")
        state = gr.State([])
        with gr.Column(visible=False, elem_id="lt-form") as form:
            gr.HTML(
                '<p class="lt-note">A wrong label? Write the right one into a list that training reads.</p>',
                padding=False,
            )
            with gr.Row():
                number = gr.Dropdown([], label="Image", elem_id="lt-number")
                label = gr.Dropdown(
                    [(name, i) for i, name in enumerate(names)], value=None, label="Its class", elem_id="lt-label"
                )
            button = gr.Button("Write it down", variant="primary", elem_id="lt-button")
            status = gr.HTML(padding=False, elem_id="lt-status")
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
        files.change(classify, [files], [results, state, number, form], **private)
        button.click(correct, [state, number, label], [status], **private)
    return page.queue(default_concurrency_limit=1, max_size=32)


def message(words: str) -> str:
    return f'<p class="lt-note" role="status">{text(words)}</p>'


def check_address(host: str, port: int | None) -> None:
    """Raises InputError unless this machine has the address, and the port is free."""
    try:
        found = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(f"--host={host}: no such address; {ADDRESSES}") from None
    problems = []
    for family, kind, _, _, address in found:
        try:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            return
        except OSError as error:
            problems.append(error)
    if any(error.errno in (errno.EADDRINUSE, errno.EACCES) for error in problems):
        raise InputError(f"--port={port}: cannot be used ({problems[0].strerror}); choose another --port")
    raise InputError(f"--host={host}: is no address of this machine; {ADDRESSES}")


def serve(page: Any, host: str, port: int | None) -> None:
    """Serves the page until Ctrl-C.

    Raises:
      InputError: an address that cannot be used.
    """
    try:
        print(f"the page: {launch(page, host, port)} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)
    finally:
        page.close(verbose=False)


def launch(page: Any, host: str, port: int | None) -> str:
    """Serves the page in the background; returns its address.

    Raises:
      InputError: an address that cannot be used.
    """
    gr = gradio()
    theme = gr.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    try:
        _, address, _ = page.launch(
            server_name=f"[{host}]" if ":" in host else host, server_port=port, share=False, quiet=True,
            show_error=True, prevent_thread_lock=True, max_file_size=MOST_BYTES, enable_monitoring=False,
            ssr_mode=False, pwa=False, mcp_server=False, footer_links=[], run_history=False, theme=theme, css=STYLE,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise InputError(f"{host}:{port or 7860} cannot be used ({reason}); choose another --port") from None
    return str(address)
