"""A guest book: POST / signs it, GET / shows it."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BOOK = Path("book.txt")
GREETING = "Guests so far:"


def sign(book: Path, name: str) -> None:
    """Adds a guest, on a line of their own."""
    with book.open("a", encoding="utf-8") as file:
        file.write(" ".join(name.split()) + "\n")


def guests(book: Path) -> list[str]:
    """Everyone who has signed."""
    return book.read_text(encoding="utf-8").splitlines() if book.exists() else []


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer("ok")
        else:
            self.answer("\n".join([GREETING, *guests(BOOK)]))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        sign(BOOK, self.rfile.read(length).decode("utf-8", "replace"))
        self.answer("thank you")

    def answer(self, text: str) -> None:
        body = (text + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    print("serving on port 8000")
    ThreadingHTTPServer(("", 8000), Handler).serve_forever()
