"""Whether the upstreams may be called: a real one wants to know whom to reach."""

from actors.shared.settings import Settings
from actors.shared.useragent import user_agent


def check_contact(configured: Settings) -> None:
    """Make sure that the upstreams may be called, before anything is made.

    Raises:
        Misconfigured: says which one asks for a contact.
    """
    upstreams = {"r2z2": configured.r2z2_url, "redisq": configured.redisq_url}
    for url in (upstreams.get(configured.source), configured.esi_url):
        if url:
            user_agent(configured, url)
