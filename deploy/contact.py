"""Check the contact that real upstreams require in the User-Agent."""

from actors.shared.settings import Settings
from actors.shared.useragent import user_agent


def check_contact(configured: Settings, *, source: bool = True, esi: bool = True) -> None:
    """Check that a process has a contact for its upstreams; call it before anything is created.

    Args:
        configured: the settings.
        source: whether the process polls the source.
        esi: whether the process calls ESI.

    Raises:
        Misconfigured: an upstream requires a contact, and none is set.
    """
    sources = {"r2z2": configured.r2z2_url, "redisq": configured.redisq_url}
    if source and (url := sources.get(configured.source)):
        user_agent(configured, url)
    if esi:
        user_agent(configured, configured.esi_url)
