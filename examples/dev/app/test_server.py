"""What the guest book keeps."""

import tempfile
import unittest
from pathlib import Path

from server import guests, sign


class Book(unittest.TestCase):
    """Signing and reading."""

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.book = Path(self.folder.name) / "book.txt"

    def test_nobody_has_signed_at_first(self) -> None:
        self.assertEqual(guests(self.book), [])

    def test_a_name_stays_on_its_line(self) -> None:
        sign(self.book, "Ada\nLovelace")
        sign(self.book, "Grace")
        self.assertEqual(guests(self.book), ["Ada Lovelace", "Grace"])


if __name__ == "__main__":
    unittest.main()
