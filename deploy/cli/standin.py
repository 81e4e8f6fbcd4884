"""`killstream standin`: simulate the upstreams on this machine."""

from deploy.standin.command import standin

__all__ = ["standin"]
