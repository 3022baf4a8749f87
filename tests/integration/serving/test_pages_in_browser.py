"""The playground and the API's page in a real browser, served by the real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from headless_browser import open_browser, set_screen
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from tiny_model import LABELS, TEXTS

if TYPE_CHECKING:
    from conftest import Server

pytestmark = [pytest.mark.integration, pytest.mark.browser]

WIDTHS_OF_BARS = """
return [...document.querySelectorAll("#scores .track")].map((track) => {
  const bar = track.querySelector(".fill").getBoundingClientRect(), whole = track.getBoundingClientRect();
  return (bar.right - whole.left) / whole.width;
});
"""
LOADED = 'return performance.getEntriesByType("resource").map((entry) => entry.name);'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chrome = open_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


def shown(browser: webdriver.Chrome, name: str) -> str:
    """Waits until an element is there to be read, and returns its text."""
    element = browser.find_element(By.ID, name)
    WebDriverWait(browser, 20).until(lambda _: element.is_displayed() and element.text)
    return element.text


def open_page(browser: webdriver.Chrome, url: str, width: int = 1280) -> None:
    set_screen(browser, width=width)
    browser.get(url)
    WebDriverWait(browser, 20).until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#examples button"))


def test_a_text_gets_its_label_and_bars_as_long_as_the_scores(
    browser: webdriver.Chrome, server: Server
) -> None:
    open_page(browser, server.url)
    expected = httpx.post(f"{server.url}/predict", json={"text": TEXTS[3]}, timeout=30).json()
    browser.find_element(By.ID, "text").send_keys(TEXTS[3])
    browser.find_element(By.ID, "submit").click()
    assert shown(browser, "label") == expected["label"]
    assert shown(browser, "score") == f"{expected['score'] * 100:.1f} %"
    assert shown(browser, "answered-by") == "reviews/v1"
    assert shown(browser, "latency").endswith(" ms")
    names = [name.text for name in browser.find_elements(By.CSS_SELECTOR, "#scores .name")]
    assert names == [row["label"] for row in expected["scores"]]
    scores = [row["score"] for row in expected["scores"]]
    WebDriverWait(browser, 10).until(
        lambda _: browser.execute_script(WIDTHS_OF_BARS) == pytest.approx(scores, abs=0.01)
    )


def test_the_keyboard_is_enough(browser: webdriver.Chrome, server: Server) -> None:
    open_page(browser, server.url)
    text = browser.find_element(By.ID, "text")
    text.send_keys("fine, I suppose", Keys.CONTROL, Keys.ENTER)
    assert shown(browser, "label") in LABELS
    text.send_keys(Keys.NULL, Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("id") == "submit"


def test_an_example_is_answered_with_one_click(browser: webdriver.Chrome, server: Server) -> None:
    open_page(browser, server.url)
    example = browser.find_element(By.CSS_SELECTOR, "#examples button")
    assert example.text in TEXTS
    example.click()
    assert shown(browser, "label") in LABELS
    assert browser.find_element(By.ID, "text").get_attribute("value") == example.text


def test_the_command_asks_what_the_page_asks(browser: webdriver.Chrome, server: Server) -> None:
    open_page(browser, server.url)
    browser.find_element(By.ID, "text").send_keys('it\'s "fine"')
    command = browser.find_element(By.ID, "curl").text
    assert command.startswith(f"curl {server.url}/predict")
    assert command.endswith("""-d '{"text":"it'\\''s \\"fine\\""}'""")


def test_a_refusal_is_shown_in_words(browser: webdriver.Chrome, server: Server) -> None:
    open_page(browser, server.url)
    browser.find_element(By.ID, "submit").click()
    assert shown(browser, "error-message") == "There is no text yet."
    browser.execute_script('document.getElementById("text").value = "long ".repeat(20000)')
    browser.find_element(By.ID, "submit").click()
    WebDriverWait(browser, 20).until(lambda _: "characters" in shown(browser, "error-message"))
    assert not browser.find_element(By.ID, "result").is_displayed()


def test_markup_in_a_text_stays_text(browser: webdriver.Chrome, server: Server) -> None:
    open_page(browser, server.url)
    browser.find_element(By.ID, "text").send_keys("<img src=x onerror=\"document.title='broken'\">")
    browser.find_element(By.ID, "submit").click()
    assert shown(browser, "label") in LABELS
    assert browser.title == "reviews/v1: playground"


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_hangs_over_the_edge(browser: webdriver.Chrome, server: Server, width: int) -> None:
    open_page(browser, server.url, width)
    browser.find_element(By.CSS_SELECTOR, "#examples button").click()
    shown(browser, "label")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_apis_page_draws_itself_from_local_files_only(browser: webdriver.Chrome, server: Server) -> None:
    browser.get_log("browser")  # what other pages left
    set_screen(browser, width=1280)
    browser.get(f"{server.url}/docs")
    WebDriverWait(browser, 30).until(lambda _: browser.find_elements(By.CSS_SELECTOR, ".opblock"))
    paths = [path.text for path in browser.find_elements(By.CSS_SELECTOR, ".opblock-summary-path")]
    assert "/predict" in paths
    loaded = browser.execute_script(LOADED)
    assert f"{server.url}/openapi.json" in loaded
    assert [name for name in loaded if not name.startswith((server.url, "data:"))] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_playground_loads_local_files_only(browser: webdriver.Chrome, server: Server) -> None:
    browser.get_log("browser")  # what other pages left
    open_page(browser, server.url)
    loaded = browser.execute_script(LOADED)
    assert f"{server.url}/assets/playground.css" in loaded
    assert [name for name in loaded if not name.startswith(server.url)] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
