"""Write docs/security.md."""

from __future__ import annotations

from tests.security.document import DOCUMENT, document

DOCUMENT.write_text(document())
