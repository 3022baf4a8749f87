"""The report page in a real browser: nothing breaks, nothing hangs over, on a desk and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from unit.publish.sample_report import sample_report

from anneal_api.report import RunReport
from anneal_trainer.publish.report_page import render_report

pytestmark = [pytest.mark.integration, pytest.mark.browser]

SECTIONS = [
    "verdict", "gate", "variants", "baselines", "training", "confusion", "classes", "calibration", "errors",
    "data", "stages", "configuration", "versions",
]  # fmt: skip

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

REPORTS = {
    "two labels": sample_report(2),
    "twenty labels": sample_report(20),
    "first, private": sample_report(5, outcome="first", private=True),
    "failed, hostile": sample_report(5, outcome="failed", hostile=True),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def show(browser: webdriver.Chrome, report: RunReport, folder: Path, *, width: int, scheme: str) -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page = folder / "report.html"
    page.write_text(render_report(report), encoding="utf-8")
    browser.get(page.as_uri())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", REPORTS)
def test_page_fits_and_runs_clean(
    browser: webdriver.Chrome, tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    show(browser, REPORTS[name], tmp_path, width=width, scheme=scheme)
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for section in SECTIONS:
        found = browser.find_element(By.ID, section)
        assert found.is_displayed()
        assert found.size["height"] > 80, section
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [each for each in loaded if not each.startswith("data:")] == []


def test_text_keeps_its_contrast_in_the_dark(browser: webdriver.Chrome, tmp_path: Path) -> None:
    lightness = {}
    for scheme in ("light", "dark"):
        show(browser, REPORTS["two labels"], tmp_path, width=1280, scheme=scheme)
        body = browser.find_element(By.TAG_NAME, "body")
        ink = body.value_of_css_property("color")
        page = body.value_of_css_property("background-color")
        lightness[scheme] = (_lightness(ink), _lightness(page))
    assert lightness["light"][1] - lightness["light"][0] > 180
    assert lightness["dark"][0] - lightness["dark"][1] > 180


def test_text_of_charts_can_be_read_on_a_phone(browser: webdriver.Chrome, tmp_path: Path) -> None:
    show(browser, REPORTS["twenty labels"], tmp_path, width=390, scheme="light")
    script = (
        "return [...document.querySelectorAll('svg text')].map(each =>"
        " parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a)"
    )
    sizes = browser.execute_script(script)
    assert len(sizes) > 50
    assert min(sizes) > 8


def _lightness(color: str) -> float:
    parts = color[color.index("(") + 1 : -1].split(",")[:3]
    return sum(float(each) for each in parts) / 3
