"""Serve the built site: `make serve`."""

import argparse
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
PORTS = range(8000, 8100)


class Handler(SimpleHTTPRequestHandler):
    """Serve files, cross-origin isolated so that a page may run WebAssembly on several threads."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def open_server(directory: Path, ports=PORTS) -> ThreadingHTTPServer:
    """Bind a server for `directory` to the first free port of `ports` (0 means any)."""
    for port in ports:
        try:
            return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(directory)))
        except OSError:
            continue
    raise OSError(f"no free port from {ports[0]} to {ports[-1]}; name another with --port")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="port to serve on (default: the first free one from 8000)")
    args = parser.parse_args()
    if not (SITE / "index.html").exists():
        print("There is no site yet: run `make book` first (or `make site`).", file=sys.stderr)
        return 1
    try:
        opened = open_server(SITE, PORTS if args.port is None else [args.port])
    except (OSError, OverflowError) as error:
        print(error, file=sys.stderr)
        return 1
    with opened as server:
        print(f"The book is at http://localhost:{server.server_port}/   (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
