import base64
import json
import time
from itertools import count
from pathlib import Path
from typing import Any

import jwt
import pytest

from model.errors import NextclickError
from stream.access.grants import EVERYTHING, NOTHING, OPERATE, POST, READ, VIEW, WORKER, Grant
from stream.access.key_ring import KeyRing, read_keys
from stream.access.pseudonyms import Pseudonyms
from stream.access.tokens import RefusedToken, grant_of, make_token, make_worker_token

KEY, OTHER = b"k" * 32, b"o" * 32
# Of tokens that are made when the tests are collected: longer than any run of the tests takes.
A_DAY = 86_400


def claims(**changes: Any) -> str:
    made = {"roles": [READ], "exp": int(time.time()) + A_DAY, **changes}
    return jwt.encode({name: value for name, value in made.items() if value is not None}, KEY, "HS256")


def test_a_token_grants_its_roles_for_its_session_until_it_ends() -> None:
    before_s = time.time()
    grant = grant_of(make_token(KEY, [POST, READ], 600, session="4711", holder="shop"), [OTHER, KEY])
    assert grant.roles == {POST, READ}
    assert (grant.session, grant.holder) == ("4711", "shop")
    assert before_s + 599 <= grant.ends_s <= time.time() + 600


def unsigned(header: dict[str, str]) -> str:
    parts = [header, {"roles": [OPERATE], "exp": int(time.time()) + A_DAY}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (make_token(OTHER, [READ], A_DAY), "none of this worker's keys"),
        (make_token(KEY, [READ], -60), "has ended"),
        (claims(exp=None), "does not say when it ends"),
        (claims(exp="soon"), "cannot be read"),
        (claims(exp=1e300), ""),
        (claims(nbf=int(time.time()) + A_DAY // 2), "not valid yet"),
        (claims(roles=None), "roles"),
        (claims(roles="read"), "roles"),
        (claims(roles=["read", "root"]), "roles"),
        (claims(roles=[["read"]]), "roles"),
        (claims(session=""), "session"),
        (claims(session=7), "session"),
        (unsigned({"alg": "none"}), "cannot be read"),
        (unsigned({"alg": "HS256"}), "none of this worker's keys"),
        (jwt.encode({"roles": [READ], "exp": 4e9}, KEY * 2, "HS512"), "cannot be read"),
        (make_token(KEY, [READ], A_DAY)[:-4] + "AAAA", "none of this worker's keys"),
        ("", "cannot be read"),
        ("a.b.c", "cannot be read"),
        ("é.ü.ä", "cannot be read"),
        ("." * 4000, "cannot be read"),
        ("a" * 5000, "at most 4096"),
        ("eyJhbGciOiJIUzI1NiJ9." + base64.urlsafe_b64encode(b"[" * 2900).decode() + ".x", "cannot be read"),
    ],
    # Tokens of this moment are no names: the processes that share the tests would disagree.
    ids=map(str, count()),
)
def test_what_is_no_good_token_grants_nothing_and_none_of_it_is_repeated(token: str, why: str) -> None:
    if not why:
        # An end in the far future is an end all the same.
        assert grant_of(token, [KEY]).roles == {READ}
        return
    with pytest.raises(RefusedToken, match=why) as refused:
        grant_of(token, [KEY])
    assert not token or token[:20] not in str(refused.value)


def test_a_worker_s_token_is_for_one_request_alone() -> None:
    token = make_worker_token(KEY, "worker-1", "GET /api/recommendations/4711")
    assert grant_of(token, [KEY], lambda: "GET /api/recommendations/4711").reads("4711")
    with pytest.raises(RefusedToken, match="another request"):
        grant_of(token, [KEY], lambda: "GET /api/recommendations/4712")
    with pytest.raises(RefusedToken, match="another request"):
        grant_of(token, [KEY])


def test_roles_grant_what_they_say_and_no_more() -> None:
    reader, viewer = Grant(frozenset({READ})), Grant(frozenset({VIEW}))
    of_one = Grant(frozenset({READ, POST}), session="4711")
    assert reader.has(VIEW) and reader.sees_ids and not reader.has(OPERATE) and not reader.has(POST)
    assert not viewer.has(READ) and not viewer.sees_ids
    assert of_one.reads("4711") and not of_one.reads("4712") and not of_one.sees_ids
    # The page shows the sessions of others.
    assert not of_one.has(VIEW)
    assert Grant(frozenset({WORKER})).reads("4711")
    assert EVERYTHING.has(OPERATE) and EVERYTHING.sees_ids
    assert not any(NOTHING.has(role) for role in (VIEW, READ, POST, OPERATE)) and NOTHING.has("")


def test_a_changed_file_of_keys_is_read_again_and_a_damaged_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "web.keys"
    file.write_bytes(KEY + b"\n")
    ring = KeyRing(file)
    token = make_token(ring.keys[0], [READ], 600)
    file.write_bytes(OTHER + b"\n\n" + KEY + b"\n")
    assert ring.keys == (OTHER, KEY) and grant_of(token, ring.keys).has(READ)
    file.write_bytes(b"short")
    assert ring.keys == ring.keys == (OTHER, KEY)
    assert caplog.text.count("the former keys of tokens stay") == 1
    file.unlink()
    assert ring.keys == (OTHER, KEY)
    file.write_bytes(OTHER)
    with pytest.raises(RefusedToken):
        grant_of(token, ring.keys)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "it has 0 keys"),
        (b"\n \n", "it has 0 keys"),
        (KEY + b"\nshort", "key 2 has less than 32"),
        (b"\n".join([KEY] * 9), "it has 9 keys"),
        (KEY * 4096, "bytes"),
    ],
)
def test_keys_that_cannot_be_used_are_refused(text: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(text)
    with pytest.raises(NextclickError, match=why) as refused:
        read_keys(tmp_path / "keys")
    assert KEY.decode() not in str(refused.value)
    with pytest.raises(NextclickError, match="No such file"):
        read_keys(tmp_path / "none")


def test_pseudonyms_are_the_same_for_a_key_and_tell_nothing_without_it() -> None:
    assert Pseudonyms(KEY).of("4711") == Pseudonyms(KEY).of("4711") != Pseudonyms(OTHER).of("4711")
    assert Pseudonyms(KEY).of("\ud800").startswith("~")
    assert len({Pseudonyms(KEY).of(str(number)) for number in range(1000)}) == 1000


def test_a_token_of_a_machine_whose_clock_is_ahead_is_read() -> None:
    assert grant_of(claims(iat=int(time.time()) + 600), [KEY]).has(READ)
