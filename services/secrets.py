"""Agents' API keys at rest: encrypted with a key that only the environment holds."""

from cryptography.fernet import Fernet, InvalidToken

from services.errors import InvalidInput


class SecretBox:
    """Seals and opens agents' API keys. Without a key of its own it seals nothing, and says so."""

    def __init__(self, key: str | None) -> None:
        self._fernet = Fernet(key) if key else None

    def seal(self, secret: str) -> bytes:
        if self._fernet is None:
            raise InvalidInput.of(
                "This server keeps no API keys: it was started without NEXTFIRE_SECRET_KEY.",
                "input",
                "apiKey",
            )
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Raises `SecretUnreadable` where it was sealed under another key."""
        if self._fernet is None:
            raise SecretUnreadable
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise SecretUnreadable from error


class SecretUnreadable(Exception):
    """The agent's API key was sealed under another NEXTFIRE_SECRET_KEY than this process has."""
