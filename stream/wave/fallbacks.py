"""Why a list is not of its event's own step: the values of the record's field `fallback`.

Tested by tests/unit/stream/wave/test_processor.py.
"""

from __future__ import annotations

from stream.events import DISMISS, FORGET

UNKNOWN_ITEM = "unknown_item"
EMPTY_SESSION = "empty_session"
LAG = "lag"
FALLBACKS = (UNKNOWN_ITEM, EMPTY_SESSION, LAG, DISMISS, FORGET)
