"""Headless Chromium, with a record of what its pages ask for and complain about."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage
    --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars
""".split()


class Browser:
    """A browser's window."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1200, dark: bool = False) -> None:
        """Open a page in a window as wide as this, in light or dark colours."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get(url)

    def find(self, selector: str) -> list[Any]:
        """Return the elements of a CSS selector."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def wait(self, selector: str) -> list[Any]:
        """Return the elements of a CSS selector once there are any."""
        from selenium.webdriver.support.ui import WebDriverWait

        found: list[Any] = WebDriverWait(self.driver, 60).until(lambda _: self.find(selector))
        return found

    def wait_for(self, code: str) -> None:
        """Wait until a script returns true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60).until(lambda _: self.script(code), code)

    def script(self, code: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self.driver.execute_script(code, *arguments)

    def complaints(self) -> list[str]:
        """Return what has been written to the console since the last time."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the URLs asked for since the last time, but for data inside the page."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        urls = [params["request"]["url"] for params in sent]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium, or skip the test where it is not installed."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(programs[1]))
        try:
            driver.command_executor.client_config.timeout = 280  # a busy machine is no failure
            driver.get("about:blank")
            driver.get_log("performance")  # of the page that Chromium opens with
            yield Browser(driver)
        finally:
            driver.quit()
