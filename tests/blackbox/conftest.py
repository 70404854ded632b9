"""Options and fixtures of the black-box tests. How to run them: tests/README.md."""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import zlib

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "rig"))
pytest.register_assert_rewrite("harness", "processes", "exchange", "sdk_rig", "ledgers")
import certificates  # noqa: E402
import evidence  # noqa: E402
import harness  # noqa: E402
from upstream import Mock  # noqa: E402

# Each HAProxy version that is tested, and the Debian suite that has its package (None: this machine's own HAProxy is of that version).
MATRIX = (("2.6", None), ("3.0", "trixie"), ("3.2", "sid"), ("3.4", "experimental"))
# --matrix runs the tests that use HAProxy with these versions, and the modules and tests of SMOKE with the other versions too.
FULL = ("2.6", "3.2")
SMOKE = ("test_routes", "test_failclosed", "test_credentials", "test_reload", "test_lengths", "test_upgrade_requests", "test_endpoints",
         "test_forwarding", "test_legs", "test_legs_tap", "test_pool", "test_pool_agent", "test_pool_life", "test_pool_requests", "test_pool_tap", "test_client_keys", "test_one_model", "test_contract", "test_plain", "test_sizes", "test_sampling::test_a_second_model_in_the_middle", "test_sampling::test_a_second_model_between_head_and_tail",
         "test_sampling::test_any_size_of_sample",
         "test_sampling::test_a_second_model_in_the_middle_of_a_form", "test_clients::test_a_preflight_is_answered_by_the_gateway",
         "test_clients::test_models_in_the_shape_of_each_api", "test_usage_capture::test_a_stream_that_calls_itself_json_is_not_held",
         "test_logchannel::test_no_other_user_reads_or_writes_a_line", "test_estimates::test_between_the_ends_of_a_large_buffer")
# With the versions after 2.6 a test runs with its first parameter and a third of the others, with each version another third. So each parameter of
# SMOKE meets 2.6 and one of the later versions, which is enough because 3.0 runs no rule that 3.2 does not run too, and `make test-long` has all.
# These modules run whole with a later version, too: outside of SMOKE, what is read of the usage and what becomes of bodies of which the agent sees a
# part, because 2.6 has other rules for both; and with 3.4, which alone has buffers of several sizes, what is about sizes.
WHOLE = {"3.2": ("test_estimates", "test_usage_capture", "test_usage_shapes", "test_logline", "test_refusals", "test_attack"),
         "3.4": ("test_sizes", "test_lengths", "test_sampling", "test_one_model", "test_pool", "test_pool_life", "test_pool_requests", "test_estimates")}
# A third of the parameters of these tests is enough with each version: they are a product, in which each pair still meets.
PRODUCTS = ("test_sampling::test_every_client_is_routed",)
# --matrix runs these modules with the first version only, because they take long: what a browser and the SDKs see depends little on HAProxy's
# version, and `make test-long` has them with each. The agent reads the many bodies of test_sampling the same whichever HAProxy sends them;
# what HAProxy sends of a body is seen with each by test_sizes, test_lengths and the tests of test_sampling in SMOKE. What test_ledger and test_chaos
# do to the agent is the same, too, as are budgets and what is told of requests: test_logline and test_logchannel have each version's log lines.
ONCE = ("test_sampling", "test_ledger", "test_storm", "test_pool_storm", "test_budget_storm", "test_budgets", "test_budget_ends", "test_budgets_seen",
        "test_truth", "test_pool_seen", "test_fleet", "test_taps", "test_otlp", "test_dashboard", "test_dashboard_accessibility", "test_sdk",
        "test_tap_sdk", "test_pool_sdk", "test_client_sdk", "test_chaos")
# The modules of LONG and APART take long, so they begin first: with -n the other processes then need not wait for them at the end.
# The tests of a module in APART share nothing that takes long to start, so -n distributes them one by one.
LONG = ("test_alerts", "test_sdk")
APART = ("test_dashboard", "test_dashboard_accessibility", "test_run", "test_scan", "test_upgrade")


def pytest_addoption(parser):
    group = parser.getgroup("spoa-llm")
    group.addoption("--haproxy", default=os.environ.get("HAPROXY"), help="the HAProxy to test with (default: haproxy)")
    group.addoption("--matrix", action="store_true", help="all tests with HAProxy 2.6, with 3.2 a third of their parameters, with 3.0 and 3.4 those of SMOKE")
    group.addoption("--third", action="store_true", help="of each test the first parameter and a third of the others")
    group.addoption("--whole-matrix", action="store_true", help="HAProxy 2.6, 3.0, 3.2 and 3.4 in full")


def _versions(config, module, test):
    """Returns the versions that `test` of `module` runs with. None: only with the HAProxy that --haproxy names, or the machine's own."""
    versions = [version for version, _ in MATRIX]
    if config.getoption("--whole-matrix"):
        return versions
    if not config.getoption("--matrix"):
        return None
    if module in SMOKE or "%s::%s" % (module, test) in SMOKE:
        return versions
    return versions[:1] if module in ONCE else [one for one in versions if one in FULL]


def pytest_generate_tests(metafunc):
    if "haproxy" in metafunc.fixturenames:
        versions = _versions(metafunc.config, metafunc.module.__name__, metafunc.function.__name__)
        metafunc.parametrize("haproxy", versions or ["default"], indirect=True, scope="session",
                             ids=["haproxy-" + version for version in versions] if versions else [""])


def pytest_xdist_make_scheduler(config, log):
    """Gives all tests of a module that use the same HAProxy to one process, because they share the servers that they start."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            module, _, test = nodeid.partition("::")
            if os.path.basename(module)[:-3] in APART:
                return nodeid
            version = re.search(r"haproxy-[0-9.]+", test)
            return module + (version.group() if version else "")

    return Scheduling(config, log)


# What a sanitizer found, or a process that crashed, is a fault, however seldom it comes.
A_FAULT = re.compile(r"Sanitizer|runtime error:|Assertion .* failed|signal=(?:4|6|7|8|11)\b")


def pytest_sessionfinish(session):
    """Notes for tests/tools/again.py which tests failed, with `error` in front where a second try would hide a fault."""
    path, reporter = os.environ.get("FAILED_TO"), session.config.pluginmanager.get_plugin("terminalreporter")
    if path and reporter and not hasattr(session.config, "workerinput"):
        with open(path, "w", encoding="utf-8") as file:
            failed, errors = reporter.stats.get("failed", []), reporter.stats.get("error", [])
            # A fixture that did not come about is as harmless as a failed test. Checks of logs, requests and credentials fail at a fixture's end.
            begun = [report for report in errors if getattr(report, "when", "") == "setup"]
            for report in failed + begun:
                told = report.longreprtext + "".join(text for _, text in report.sections)
                file.write("%s%s\n" % ("error " if A_FAULT.search(told) else "", report.nodeid))
            for report in errors:
                if report not in begun:
                    file.write("error %s\n" % getattr(report, "nodeid", ""))


def pytest_collection_modifyitems(config, items):
    if (config.getoption("--matrix") or config.getoption("--third")) and not config.getoption("--whole-matrix"):
        _thin(config, items)
    items.sort(key=lambda item: item.module.__name__ not in LONG + APART)


def _thin(config, items):
    """Leaves each test that runs with a version after the first one its first parameter and a third of the others; see WHOLE and PRODUCTS.
    With --third all tests."""
    kept, left, seen = [], [], set()
    later = [version for version, _ in MATRIX[1:]]
    for item in items:
        module, name, version, other = item.module.__name__, item.nodeid.partition("[")[0], *_parameters(item)
        every = config.getoption("--third") or "%s::%s" % (module, item.function.__name__) in PRODUCTS
        whole = not every and (version not in later or module in WHOLE.get(version, ()))
        third = later.index(version) if version in later else 0
        if whole or (name, version) not in seen or zlib.crc32(other.encode()) % 3 == third:
            kept.append(item)
        else:
            left.append(item)
        seen.add((name, version))
    items[:] = kept
    if left:
        config.hook.pytest_deselected(items=left)


def _parameters(item):
    """Returns the version of HAProxy that a test runs with, or None, and its other parameters."""
    words = getattr(item, "callspec", None) and item.callspec.id or ""
    found = re.search(r"haproxy-([0-9.]+)-?", words)
    return (found.group(1), words.replace(found.group(), "")) if found else (None, words)


def _of_suite(suite):
    """Returns the path of the HAProxy of the Debian suite `suite`; unpacks its package under build/ first if it is not there."""
    place = harness.ROOT / "build" / "haproxy"
    run = subprocess.run(["sh", str(harness.ROOT / "tests" / "tools" / "haproxy-get"), suite, str(place)], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    if run.returncode:
        pytest.skip("HAProxy of Debian %s is not available: %s" % (suite, run.stdout.decode()[-300:].strip()))
    return str(place / suite / "haproxy")


@pytest.fixture(scope="session")
def haproxy(request):
    """The path of the HAProxy under test."""
    if request.param == "default":
        binary = request.config.getoption("--haproxy") or shutil.which("haproxy") or "/usr/sbin/haproxy"
        if harness.version_of(binary) is None:
            pytest.fail("%s does not run: give one by --haproxy or HAPROXY" % binary)
        return binary
    suite = dict(MATRIX)[request.param]
    binary = _of_suite(suite) if suite else shutil.which("haproxy") or "/usr/sbin/haproxy"
    found = harness.version_of(binary)
    wanted = tuple(int(part) for part in request.param.split("."))
    if found != wanted:
        pytest.skip("HAProxy %s is not available: %s is %s" % (
            request.param, binary, "no HAProxy" if found is None else "%d.%d" % found))
    return binary


@pytest.fixture(scope="session", autouse=True)
def no_credential_in_anything_written():
    """Fails the session if a credential was written anywhere. This fixture begins first, so it ends last, when every agent has ended."""
    evidence.guard(harness.AGENT, "spoa-llm", "other-version")
    yield
    found = evidence.verdict()
    if found:
        pytest.fail("Credentials were written in this session:\n" + found, pytrace=False)


@pytest.fixture(autouse=True)
def settled():
    """Searches the output that came in pieces during a test when that test ends, so that a finding names the test."""
    yield
    evidence.settle()


@pytest.fixture
def work():
    """A directory for one test, with a short name."""
    path = harness.workdir()
    yield path
    evidence.discard(path)


@pytest.fixture(scope="module")
def module_work():
    path = harness.workdir()
    yield path
    evidence.discard(path)


@pytest.fixture
def agents(work):
    """start(config, args=, env=) starts an agent. When the test ends, the agent is ended and its log is checked."""
    with contextlib.ExitStack() as stack:
        def start(config=None, **more):
            agent = harness.Agent(work, config, **more)
            stack.callback(agent.close)
            return agent
        yield start


@pytest.fixture
def gateways(haproxy):
    """start(mocks, config, ...) starts a gateway. When the test ends, the gateway is ended and its logs and requests are checked."""
    with contextlib.ExitStack() as stack:
        def start(*args, **named):
            gateway = harness.Gateway(haproxy, *args, **named)
            stack.callback(gateway.close)
            return gateway
        yield start


@pytest.fixture(scope="module")
def make_mock():
    """make(name) makes an upstream, which is closed when the last test of the module has ended."""
    made = []

    def make(name, **more):
        made.append(Mock(name, **more))
        return made[-1]
    yield make
    for mock in made:
        mock.close()


@pytest.fixture(scope="module", params=harness.WAYS)
def way(request):
    """How a client's requests come: for a harness.Gateway's `way`. Tests of the size of bodies run over each of the ways."""
    return request.param


@pytest.fixture(scope="session")
def chromium():
    """One for all tests, because a start takes more than three seconds of CPU time. The fixture `page` of dashboard.py has it as new."""
    import browser      # here, because few tests need it
    one = browser.Browser()
    yield one
    one.close()


@pytest.fixture(scope="session")
def authority():
    path = harness.workdir()
    yield certificates.Authority(path)
    evidence.discard(path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for process in list(harness.LIVE):
            report.sections.append(("log of %s" % process.name, process.tail()))
