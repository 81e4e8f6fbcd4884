"""What the opening request of a websocket tells of its client."""

from starlette.websockets import WebSocket

from api.login.viewer import Credential, InvalidBearer, address_of, credential_of
from api.state import state_of


class Handshake:
    """Kept until the client's first message."""

    __slots__ = ("address", "credential", "refusal")

    def __init__(self, websocket: WebSocket) -> None:
        self.address = address_of(websocket)
        self.credential: Credential | None = None
        self.refusal: InvalidBearer | None = None
        try:
            self.credential = credential_of(state_of(websocket), websocket)
        except InvalidBearer as error:
            self.refusal = error
