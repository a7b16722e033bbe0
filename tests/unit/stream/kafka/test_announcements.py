import pytest

from model.errors import NextclickError
from stream.kafka.announcements import announce
from stream.settings import Settings


def test_an_announcement_that_no_broker_acknowledges_is_an_error() -> None:
    settings = Settings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(NextclickError, match="version a could not be announced on models"):
        announce(settings, "a", deadline_s=1)
