"""Whether the upstreams may be called: a real one needs an address in the User-Agent."""

from actors.shared.settings import Settings
from actors.shared.useragent import user_agent


def check_contact(configured: Settings, *, source: bool = True, esi: bool = True) -> None:
    """Check that the upstreams which a process calls may be called, before anything is created.

    Args:
        configured: the settings.
        source: whether the process polls the source.
        esi: whether the process calls ESI.

    Raises:
        Misconfigured: names the upstream that requires a contact.
    """
    sources = {"r2z2": configured.r2z2_url, "redisq": configured.redisq_url}
    if source and (url := sources.get(configured.source)):
        user_agent(configured, url)
    if esi:
        user_agent(configured, configured.esi_url)
