"""What a client of the gateway sends, what it gets, and which upstream received what; what a refusal has to look like."""
import json

from evidence import secret


class Exchange:
    """One request of a client: what it got (the Response's attributes), and which upstream received what."""

    def __init__(self, gateway, tag, response):
        self.gateway, self.tag, self.response = gateway, tag, response

    def __getattr__(self, name):
        return getattr(self.response, name)

    @property
    def seen(self):
        return self.gateway.seen(self.tag)

    def only(self, mock):
        """Checks that one request was received, and by `mock`. Returns that request."""
        seen = self.seen
        assert [one.mock.name for one in seen] == [mock.name], "expected at %s only: %r, client got %r" % (
            mock.name, seen, self.response)
        return seen[0]

    def nowhere(self):
        """Checks that no upstream received anything, now and once more when the gateway ends."""
        self.gateway.forbidden.add(self.tag)
        assert not self.seen, "reached an upstream: %r" % self.seen

    def refused(self, status, code, shape="openai", retry=None):
        """Checks that the answer is a refusal in the format of the caller's API, and that no upstream received anything."""
        assert self.status == status, "%d instead of %d %s: %r" % (self.status, status, code, self.response)
        self.nowhere()
        check_refusal(self.response, status, code, shape, retry)
        return self


def check_refusal(response, status, code, shape, retry=None):
    assert response.complete and response.body, response
    assert response.header("content-type", "").startswith("application/json"), response
    body = response.json()
    error = body["error"]
    assert isinstance(error["message"], str) and error["message"], body
    # A missing credential is not the client's fault, whatever its status.
    clients = status < 500 and code != "upstream_auth_unavailable"
    kind = "invalid_request_error" if clients else "api_error"
    if status == 429:
        kind = "insufficient_quota" if code == "insufficient_quota" and shape == "openai" else "rate_limit_error"
    elif status == 401 and shape == "anthropic":
        kind = "authentication_error"
    if shape == "openai":
        assert set(body) == {"error"} and {"message", "type", "param", "code"} <= set(error), body
        assert error["code"] == code and error["type"] == kind, body
    elif shape == "anthropic":
        assert body["type"] == "error" and error["type"] == kind, body
        assert code in response.body.decode(), body
    else:
        assert set(body) == {"error"} and error["code"] == status, body
        assert error["status"] == {401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED"}.get(status, "INVALID_ARGUMENT" if clients else "UNAVAILABLE"), body
        assert code in response.body.decode(), body
    assert response.header("x-request-id"), response
    if retry is None:
        retry = status in (429, 503, 504)
    if retry:
        assert int(response.header("retry-after", "-1")) > 0, response
        assert response.header("x-should-retry") != "false", response
    else:
        assert response.header("x-should-retry") == "false", response
        assert response.header("retry-after") is None, response


CLIENT_KEY = secret("client")
JSON = [("Content-Type", "application/json")]


def bearer(value=CLIENT_KEY):
    return [("Authorization", "Bearer " + value)]


def chat(model, **more):
    """A chat body in an order of its own, so that a rewritten body shows."""
    return json.dumps(dict({"messages": [{"role": "user", "content": "h\u00e9llo \"model\": x"}], "model": model},
                           **more)).encode()
