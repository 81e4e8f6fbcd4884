"""A real browser: Debian's chromium, without a display."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import BrowserContext, async_playwright

from deploy.local.install import find, install_packages, program

ARGUMENTS = ["--no-sandbox", "--disable-background-networking"]


@asynccontextmanager
async def open_browser() -> AsyncIterator[BrowserContext]:
    """Open a browser without cookies; chromium is installed when it is missing."""
    if find("chromium") is None:
        install_packages(["chromium"])
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program("chromium"), args=ARGUMENTS)
        try:
            yield await browser.new_context()
        finally:
            await browser.close()
