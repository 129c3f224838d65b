"""Who may read: a token that opens the page once, and the cookie that it is exchanged for."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import final

KEY_FILE, KEY_BYTES = "web.key", 32
SESSION_S = 7 * 24 * 3600


def key_of(home: Path) -> bytes:
    """Return this user's signing key, made at the first call; it lets a page outlive a restart of its server.

    Where no key can be kept, one is made for this process alone.
    """
    path = home / KEY_FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        key = path.read_bytes()
    except OSError:
        return secrets.token_bytes(KEY_BYTES)
    return key if len(key) == KEY_BYTES else secrets.token_bytes(KEY_BYTES)


def _create(path: Path) -> None:
    """Write a new key whole, readable by its owner alone; another process that was faster wins."""
    draft = path.with_name(f"{KEY_FILE}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


@final
class Door:
    """Opens for the one token, once, and for cookies that it signed for this folder."""

    def __init__(self, key: bytes, *, scope: str) -> None:
        self.token = secrets.token_urlsafe(24)
        self._used = False
        self._key = key
        self._scope = scope
        # Browsers send a cookie to every port of a host: its name keeps folders apart.
        self.cookie_name = "leonids_" + hashlib.sha256(scope.encode()).hexdigest()[:16]

    def open(self, token: str) -> bool:
        """Whether ``token`` is the one that was printed, and this is its first use."""
        right = hmac.compare_digest(token.encode(), self.token.encode()) and not self._used
        self._used = self._used or right
        return right

    def cookie(self, *, now_s: float) -> str:
        """Return a cookie's value that is good for ``SESSION_S`` seconds."""
        until = str(int(now_s) + SESSION_S)
        return f"{until}.{self._sign(until)}"

    def knows(self, cookie: str, *, now_s: float) -> bool:
        """Whether this is a cookie of this folder, in its time."""
        until, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(until).encode()):
            return False
        return now_s <= int(until) <= now_s + SESSION_S

    def _sign(self, until: str) -> str:
        return hmac.new(self._key, f"{self._scope}\0{until}".encode(), hashlib.sha256).hexdigest()
