"""One session's state, read from the store of its partition on this machine.

The worker may run meanwhile. Tested by tests/integration/test_session_view.py.
"""

from __future__ import annotations

from stream.sessions.session_state import SessionState
from stream.sessions.store_snapshot import open_snapshot, store_path
from stream.settings import Settings


def session_in_store(settings: Settings, session_id: str, partition: int) -> tuple[SessionState, int] | None:
    """The session's state and the partition's watermark in ms.

    Returns None when this machine has no store of the partition or the store has no such session.
    Raises NextclickError when the store cannot be read.
    """
    path = store_path(settings.state_dir, settings.events_topic, partition)
    if not (path / "CURRENT").exists():
        return None
    with open_snapshot(path) as snapshot:
        state, applied = snapshot.state(session_id), snapshot.applied
    return None if state is None else (state, applied.watermark.ms if applied else 0)
