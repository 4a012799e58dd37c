"""Photographs the calculator's page anew, beside this file: ``python docs/pictures/draw_page.py``.

It needs the extra calculator, playwright, and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
SERVER = [sys.executable, "-m", "estep_xp", "calculator", "--no-browser", "--port", "0"]


def open_page(browser: Browser, address: str, width: int, height: int, scheme: str) -> Page:
    """Return the page in a window of that size, drawn."""
    size = {"width": width, "height": height}
    page = browser.new_page(
        viewport=size, color_scheme=scheme, device_scale_factor=1.5, reduced_motion="reduce"
    )
    page.goto(address)
    page.wait_for_selector("#picture .main-svg")
    return page


def press(page: Page, name: str, then: str) -> None:
    """Press a button, and wait until the figures show a number and the pictures are drawn."""
    page.get_by_role("button", name=name).click()
    page.locator(".figures", has_text=then).wait_for()
    page.wait_for_timeout(1000)


def photograph(browser: Browser, address: str) -> None:
    """Galaxies after a step of EM on a desktop; and on a phone, in the dark, between sliders."""
    desktop = open_page(browser, address, 1280, 768, "light")
    press(desktop, "Galaxies", "-784.8200")
    press(desktop, "One EM step", "-769.3240")
    desktop.screenshot(path=HERE / "calculator.png")
    phone = open_page(browser, address, 390, 844, "dark")
    press(phone, "Old Faithful", "-1183.9392")
    press(phone, "Run to convergence", "-1034.0018")
    row = "document.querySelector('#components .row:not(.heads)')"
    phone.evaluate(f"scrollBy(0, {row}.getBoundingClientRect().top - 296)")
    phone.wait_for_timeout(500)
    phone.screenshot(path=HERE / "calculator_phone.png")


if __name__ == "__main__":
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with subprocess.Popen(SERVER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        address = server.stdout.readline().decode().strip() if server.stdout else ""
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            photograph(browser, address)
            browser.close()
        server.terminate()
