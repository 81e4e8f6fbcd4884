"""Codes with which the gateway closes a websocket; `api/README.md` says what they mean."""

from typing import Final

BAD_MESSAGE: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NOT_ACCEPTABLE: Final = 4406
NOT_INITIALISED: Final = 4408
ALREADY_EXISTS: Final = 4409
TOO_SLOW: Final = 4413
TOO_MANY: Final = 4429
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
