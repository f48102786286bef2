"""Without a network, on plain hosts and over plain http: what works, and what is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from browsing import StaticServer, new_page
from paths import SAMPLES

import maskyolo.web.site
from maskyolo import serve_web


def test_the_served_page_is_isolated_and_uses_threads(browser: Any, server: str) -> None:
    with new_page(browser, server) as page:
        cores = page.raw.evaluate("navigator.hardwareConcurrency")
        assert page.raw.evaluate("crossOriginIsolated") is True
        assert f"on {min(cores, 4)} thread" in page.text("#engine")


def test_a_static_host_offline_use_and_updates(
    browser: Any, static: StaticServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_web(out=static.folder)
    with new_page(browser, static.url) as page:
        assert page.raw.evaluate("crossOriginIsolated") is False
        assert "on 1 thread" in page.text("#engine")
        page.wait_for_text("#offline", "Ready")
        page.open(static.url)
        assert page.raw.evaluate("crossOriginIsolated") is True
        page.wait_for_text("#offline", "Ready")

        # a new version replaces the old one by itself while nothing is in use
        publish(static.folder, tmp_path, monkeypatch, "second")
        page.open(static.url, ready=False)
        page.raw.wait_for_url(static.url)
        page.wait_for_text("#title", "second")
        assert len(page.raw.evaluate("caches.keys()")) == 1

        # otherwise it waits for a click
        page.choose(SAMPLES / "portrait.jpg")
        publish(static.folder, tmp_path, monkeypatch, "third")
        page.raw.evaluate("navigator.serviceWorker.ready.then((known) => known.update())")
        page.locate("#update-now").wait_for()
        assert page.text("#title") == "second"
        assert page.counts() == (1, 0)
        page.locate("#update-now").click()
        page.wait_for_text("#title", "third")

        static.stop()
        page.open(static.url)
        page.choose(SAMPLES / "street.jpg")
        assert page.counts() == (2, 2)
        assert page.text("#title") == "third"


def test_a_half_published_version_does_not_replace_the_old_one(
    browser: Any, static: StaticServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_web(out=static.folder)
    with new_page(browser, static.url) as page:
        page.wait_for_text("#offline", "Ready")
        before = page.raw.evaluate("caches.keys()")
        publish(static.folder, tmp_path, monkeypatch, "second")
        (static.folder / "app.js").write_text("throw new Error('of another version');")
        state = page.raw.evaluate(
            """async () => {
              const known = await navigator.serviceWorker.ready;
              await known.update();
              const next = known.installing;
              if (!next) return 'no update';
              return new Promise((resolve) => {
                next.addEventListener('statechange', () => resolve(next.state));
              });
            }"""
        )
        assert state == "redundant"
        assert page.raw.evaluate("caches.keys()") == before
        page.open(static.url)
        page.choose(SAMPLES / "portrait.jpg")
        assert page.counts() == (1, 0)
        page.problems.clear()  # the refused version


def publish(folder: Path, tmp_path: Path, patch: pytest.MonkeyPatch, title: str) -> None:
    """Replace the files of a static host by those of a new version."""
    source = tmp_path / title
    shutil.copytree(maskyolo.web.site.source_folder(), source)
    index = (source / "index.html").read_text(encoding="utf-8")
    changed = index.replace("Who is wearing a mask?", title)
    assert changed != index
    (source / "index.html").write_text(changed, encoding="utf-8")
    with patch.context() as patched:
        patched.setattr(maskyolo.web.site, "source_folder", lambda: source)
        serve_web(out=tmp_path / f"{title}-out")
    shutil.copytree(tmp_path / f"{title}-out", folder, dirs_exist_ok=True)


def test_plain_http_by_another_name(browser: Any, static: StaticServer) -> None:
    serve_web(out=static.folder)
    with new_page(browser, f"http://mask.test:{static.port}/", permissions=()) as page:
        assert "needs https or localhost" in page.text("#offline")
        page.locate("[data-do=camera]:visible").first.click()
        page.locate("#problem").wait_for()
        assert page.text("#problem-text") == (
            "The camera needs https or localhost, and this page came over plain http. "
            "Photos and videos work."
        )
        page.choose(SAMPLES / "street.jpg")
        assert page.counts() == (2, 2)


HANGING_WORKER = """
const Real = Worker;
let made = 0;
window.Worker = class extends Real {
  number = made++;
  postMessage(...message) {
    if (this.number > 0) super.postMessage(...message);
  }
};
"""


def test_threads_that_hang_are_given_up(browser: Any, server: str) -> None:
    with new_page(browser, service_workers="block") as page:
        page.raw.add_init_script(HANGING_WORKER)
        page.raw.clock.install()
        page.open(server, ready=False)
        page.wait_for_text("#about", "SHA-256")
        if page.raw.evaluate("navigator.hardwareConcurrency") == 1:
            pytest.skip("needs two cores")
        page.raw.clock.fast_forward(21_000)
        page.wait_for_text("#engine", "on 1 thread")
