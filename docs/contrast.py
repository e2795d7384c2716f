"""``python docs/contrast.py``: can the text of the built site be read? WCAG AA, measured in headless Chromium.

Each page is laid out for a desk and for a phone, light and dark. Of every piece of text the ratio of its colour to what
lies behind it must be 4.5, or 3 where it is large; and no page may be wider than its window.
"""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

HERE = Path(__file__).parent
SITE = HERE / "_build" / "html"
WIDTHS = (1400, 390)
THEMES = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 300
"""For all pages: a browser that hangs is an error."""

Report = list[dict[str, Any]]


def browser() -> str | None:
    """The path of a browser, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def pages(site: Path) -> list[str]:
    """The pages of a site, by their address in it."""
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return [page for page in found if not page.startswith(("_static", "_downloads"))]


class Handler(SimpleHTTPRequestHandler):
    """The site, beside it the page that measures it, and the place where that leaves what it has found."""

    def __init__(self, *arguments: Any, task: dict[str, Any], found: "Queue[Report]", **options: Any) -> None:
        self._task, self._found = task, found
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        if self.path != "/measure":
            super().do_GET()
            return
        script = (HERE / "contrast.js").read_text(encoding="utf-8")
        text = f"<!doctype html><meta charset=utf-8><script>const task = {json.dumps(self._task)};\n{script}</script>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        self._found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def measure(site: Path, program: str) -> Report:
    """What is amiss, page by page; how many pieces of text were looked at stands first.

    Raises
    ------
    RuntimeError
        If the browser ends or says nothing.
    """
    found: Queue[Report] = Queue()
    task = {"pages": pages(site), "widths": WIDTHS, "themes": THEMES}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, task=task, found=found, directory=os.fspath(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    with TemporaryDirectory() as folder:
        # What a page wants from elsewhere (MathJax) is not there.
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
        options += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0"]
        address = f"http://127.0.0.1:{server.server_port}/measure"
        process = subprocess.Popen([program, *options, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return found.get(timeout=SECONDS)
        except Empty:
            raise RuntimeError(f"{program} said nothing in {SECONDS} s") from None
        finally:
            process.terminate()
            process.wait()
            server.shutdown()


def main() -> int:
    """Print what is amiss; return how the command ends."""
    program = browser()
    if program is None:
        print(f"contrast: no {', '.join(BROWSERS)} here: not measured")
        return 0
    total, *amiss = measure(SITE, program)
    for each in amiss:
        print("{page}, {theme}, {width}: {what}".format(**each))
    print(
        f"contrast: {total['texts']} texts on {total['pages']} pages, {len(amiss)} amiss; the least is {total['least']}"
    )
    return int(bool(amiss) or not total["texts"])


if __name__ == "__main__":
    sys.exit(main())
