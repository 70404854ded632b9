"""A real headless Chromium for the tests of the dashboard, and what it must never do: complain, be refused something by the
page's content security policy, or ask anybody else than the server under test."""
import base64
import json
import re
import shutil
import tempfile

import pytest

import harness
from namespaces import without_netlink

SHOTS = harness.ROOT / "build" / "screenshots"


class Browser:
    def __init__(self):
        webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not here")
        from selenium.webdriver.chrome.service import Service
        binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if not binary or not driver:
            pytest.skip("chromium and chromium-driver are not here")
        self.home = tempfile.mkdtemp(prefix="llm-chromium-", dir="/tmp")
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
                         "--no-first-run", "--disable-background-networking", "--disable-component-update", "--lang=en-US",
                         "--user-data-dir=" + self.home):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # Chromium learns by netlink that a network interface has come or gone, and then fails what it is loading (ERR_NETWORK_CHANGED), from 127.0.0.1
        # too. Containers that start beside the tests, as those of `make test-compose`, left pages without a script.
        self.driver = without_netlink(lambda: webdriver.Chrome(options=options, service=Service(driver)))
        self.cdp = self.driver.execute_cdp_cmd
        self.reset()

    def close(self):
        self.driver.quit()
        shutil.rmtree(self.home, ignore_errors=True)

    # -- between tests

    def leave(self):
        """Shows no page, so that it computes nothing and asks nobody."""
        self.driver.get("about:blank")

    def reset(self):
        """As new: a wide, light screen, and nothing in the logs."""
        self.leave()
        self.origin, self.asked, self.complaints = None, [], []
        self.screen()
        self.media()
        self.driver.get_log("browser")
        self.driver.get_log("performance")

    def screen(self, width=1280, height=900):
        self.cdp("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def media(self, scheme="light", motion="no-preference"):
        self.cdp("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme},
                                                             {"name": "prefers-reduced-motion", "value": motion}]})

    def watch(self):
        """Takes in what the logs have: `asked`, (method, url, headers) of each request, and `complaints`, of the console."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                request = message["params"]["request"]
                self.asked.append((request["method"], request["url"], {k.lower(): v for k, v in request["headers"].items()}))
        self.complaints += [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        return self

    def clean(self, *allowed):
        """Nothing on the console but what matches one of `allowed`, and no request to another origin."""
        self.watch()
        for complaint in self.complaints:
            assert "Content Security Policy" not in complaint, complaint
            assert any(re.search(pattern, complaint) for pattern in allowed), complaint
        assert self.asked
        for _, url, _ in self.asked:
            assert url.startswith((self.origin + "/", "data:", "about:", "chrome:")), url

    # -- the page

    def open(self, address, view=""):
        """`view`: what the address asks for; all requests, if it names no period."""
        if "since=" not in view:
            view += ("&" if view else "") + "since=all"
        self.origin = "http://" + address
        if self.driver.current_url.startswith(self.origin):
            self.driver.get("about:blank")   # else only the hash would change
        self.driver.get(self.origin + "/#" + view)
        return self

    def js(self, script, *args):
        return self.driver.execute_script(script if re.search(r"\breturn\b", script) else "return " + script, *args)

    def until(self, script, seconds=5, *args):
        return harness.until(lambda: self.js(script, *args), seconds,
                             lambda: "%s\n%s\n%s" % (script, self.js("document.body.innerText"), self.watch().complaints), step=0.02)

    def live(self, ledger="ok", seconds=10):
        """Connected, and the ledger's state shown."""
        self.until("document.body.dataset.link === 'live' && document.body.dataset.ledger === %s" % json.dumps(ledger), seconds)
        return self

    def view(self, name):
        """Goes to a view by its tab."""
        self.js("document.querySelector('#views a[data-view=%s]').click(); return 0" % name)
        self.until("document.body.dataset.view === '%s'" % name)
        return self

    def text(self, selector):
        """As a person sees it: nothing where it is not displayed."""
        return self.js("const n = document.querySelector(arguments[0]); return n.checkVisibility() ? n.innerText : ''", selector)

    def value(self, selector):
        return int(self.js("document.querySelector(arguments[0]).dataset.value", selector))

    def shown(self, selector):
        return self.js("const n = document.querySelector(arguments[0]); return !!n && n.checkVisibility()", selector)

    def rows(self, selector):
        """The rows of a table: [[(text, data-value or None) of each cell]]. The text of a label is whole, even if the page shows a part of it."""
        return self.js("""return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map((row) => [...row.cells].map((cell) => {
            const of = cell.dataset.value !== undefined ? cell : cell.querySelector('[data-value]');
            return [cell.querySelector('[data-name]')?.dataset.name || (of ?? cell).textContent, of ? of.dataset.value : null]; }))""", selector)

    def keys(self, *names):
        """Keys as a keyboard sends them."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys
        chain = ActionChains(self.driver)
        for name in names:
            chain.send_keys(getattr(Keys, name, name))
        chain.perform()

    def width(self):
        return self.js("document.scrollingElement.scrollWidth")

    def shot(self, name, height=None):
        """build/screenshots/NAME.png: the page from its top, all of it or so many pixels."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        width, whole = self.js("return [innerWidth, document.scrollingElement.scrollHeight]")
        got = self.cdp("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": {
            "x": 0, "y": 0, "width": width, "height": min(height or whole, whole), "scale": 1}})
        (SHOTS / (name + ".png")).write_bytes(base64.b64decode(got["data"]))
