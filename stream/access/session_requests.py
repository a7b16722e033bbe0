"""One open session, asked of the workers over HTTP; knows no model, so that who asks needs no torch.

Tested by tests/integration/test_session_view.py.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from stream.access.grants import READ
from stream.access.own_requests import open_worker
from stream.web_settings import WebSettings

WORKER_TIMEOUT_S = 10.0


def view_from_workers(
    addresses: Sequence[str],
    session_id: str,
    settings: WebSettings,
    *,
    on_refusal: Callable[[str, str], None],
) -> dict[str, Any] | None:
    """Ask the workers in turn; returns the first view of the session, with the address as `source`.

    Returns None when no worker has it. `on_refusal(address, reason)` is called for each worker without it.
    """
    for address in addresses:
        url = f"{address.rstrip('/')}/api/sessions/{urllib.parse.quote(session_id, safe='')}"
        try:
            with open_worker(settings, url, READ, WORKER_TIMEOUT_S) as answer:
                view: dict[str, Any] = json.load(answer)
                return {**view, "source": address}
        except urllib.error.HTTPError as error:
            with error:
                reason = f"HTTP {error.code}: {error.read(500).decode(errors='replace')}"
        except (OSError, ValueError) as error:
            reason = str(error)
        on_refusal(address, reason)
    return None
