"""The three standard streams. Where a program is started without some of them, what it opens next takes their place."""

from __future__ import annotations

import os
import sys
from typing import Final

_STREAMS: Final = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))


def demand() -> None:
    """Open those that we were started without, before anything else is opened.

    Nothing is typed in, nobody reads errors, and a result cannot be written, which is an error as ever.
    """
    for number, (name, mode, flags) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)  # noqa: FBT003 - its only form
            setattr(sys, name, os.fdopen(number, mode))
