"""RedisQ's queues in Redis, for all gateways."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from actors.shared.outage import Outage
from actors.shared.settings import Settings
from api.doors import queues

REDIS_S: Final = 1.0

BEGIN: Final = """
local now = tonumber(redis.call('TIME')[1])
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[3]) then return 'busy' end
local position = redis.call('GET', KEYS[1])
local update = position and 'XX' or 'NX'
for index = 3, 4 do
  redis.call('ZREMRANGEBYSCORE', KEYS[index], '-inf', now)
  if not position and redis.call('ZCARD', KEYS[index]) >= tonumber(ARGV[index + 1]) then
    redis.call('DEL', KEYS[2])
    return index == 3 and 'client' or 'all'
  end
end
for index = 3, 4 do
  redis.call('ZADD', KEYS[index], update, now + ARGV[2], KEYS[1])
  redis.call('EXPIRE', KEYS[index], 86400)
end
redis.call('SET', KEYS[1], position or ARGV[1], 'EX', ARGV[2])
return position or ARGV[1]
"""
"""Take the lock, and return the position; a new queue is counted for its client and in all.

Keys: the queue, its lock, the client's queues, all queues. Arguments: where a new queue begins, its
lifetime, the lock's, the limits of the client's queues and of all.
"""
END: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('DEL', KEYS[2])
"""


class RedisQueues:
    """See `Queues`."""

    def __init__(self, settings: Settings) -> None:
        self._outage = Outage("Redis, for the queues of RedisQ")
        self._redis = Redis.from_url(
            settings.redis_url,
            retry=Retry(NoBackoff(), 0),  # the client polls again
            socket_timeout=REDIS_S,
            socket_connect_timeout=REDIS_S,
        )
        self._prefix = settings.named("redisq")
        self._begin = self._redis.register_script(BEGIN)
        self._end = self._redis.register_script(END)

    async def __aenter__(self) -> Self:
        """Connect at first use."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def begin(self, name: str, client: str, ttl_s: int, start: int) -> int:
        """Take a queue; see `Queues`."""
        sets = f"{self._prefix}:client:{client}", f"{self._prefix}:queues"
        limits = queues.QUEUES_PER_CLIENT, queues.QUEUES
        with self._translated():
            answer = await self._begin(
                keys=[*self._keys(name), *sets], args=[start, ttl_s, queues.LOCK_S, *limits]
            )
        if answer == b"busy":
            raise queues.QueueBusy(queues.BUSY)
        queues.check_room(of_client=answer == b"client", in_all=answer == b"all")
        return int(answer)

    async def end(self, name: str, ttl_s: int, position: int) -> None:
        """Give a queue back; see `Queues`."""
        with self._translated():
            await self._end(keys=self._keys(name), args=[position, ttl_s])

    def _keys(self, name: str) -> list[str]:
        return [f"{self._prefix}:queue:{name}", f"{self._prefix}:lock:{name}"]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            self._outage.failed(error)
            raise queues.QueuesUnavailable("the queues are unavailable; try again later") from error
        self._outage.worked()
