"""Write docs/conformance.md."""

from __future__ import annotations

from tests.conformance.document import DOCUMENT, document

DOCUMENT.write_text(document())
