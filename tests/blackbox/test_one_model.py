"""One model: wherever path, query, form, body or header could name two models for two parsers, the request is refused, and no upstream gets a
byte of it. Where they agree, it goes to the route of that model."""
import gzip
import json

import pytest

import harness
from harness import CLIENT_KEY, bearer, secret

GLM_KEY, GPT_KEY = secret("one-glm"), secret("one-gpt")
CHAT = "/v1/chat/completions"
VERTEX = "/v1/projects/p/locations/l/publishers/anthropic/models/"
ARN = "arn:aws:bedrock:us-east-1:1:inference-profile/glm"
JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "multipart/form-data; boundary=xyz")]
FIELDS = [("Content-Type", "application/x-www-form-urlencoded")]
GZIP = [("Content-Encoding", "gzip")]
WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]


@pytest.fixture(scope="module")
def gateway(haproxy, make_mock):
    mocks = {name: make_mock("one-" + name) for name in ("glm", "gpt", "arn", "star")}
    config = {"routes": [{"model_prefix": "glm-", "upstream": mocks["glm"].url(), "auth": "env:GLM_KEY"},
                         {"model_prefix": "gpt-", "upstream": mocks["gpt"].url(), "auth": "env:GPT_KEY"},
                         {"model_prefix": "arn:aws:", "upstream": mocks["arn"].url()},
                         {"model_prefix": "*", "upstream": mocks["star"].url()}]}
    with harness.Gateway(haproxy, mocks.values(), config, env={"GLM_KEY": GLM_KEY, "GPT_KEY": GPT_KEY}, owners={
            GLM_KEY: [mocks["glm"]], GPT_KEY: [mocks["gpt"]], CLIENT_KEY: [mocks["arn"], mocks["star"]]}) as gateway:
        gateway.by_name = mocks
        yield gateway


def part(disposition, value, more=b""):
    return b"--xyz\r\n" + more + b"Content-Disposition: form-data; " + disposition + b"\r\n\r\n" + value + b"\r\n"


def form(*parts):
    return b"".join(parts) + b"--xyz--\r\n"


def names(model, **more):
    return json.dumps(dict(more, model=model)).encode()


GLM = part(b'name="model"', b"glm-1")
GPT = part(b'name="model"', b"gpt-9")
AMBIGUOUS, INVALID, MALFORMED = "ambiguous_model", "invalid_model", "invalid_form"

# id: (target, headers, body, code)
REFUSED = {
    # path against body
    "encoded colon": ("/v1beta/models/gpt-9%3AgenerateContent", JSON, names("glm-1"), AMBIGUOUS),
    "encoded word": ("/v1beta/%6dodels/gpt-9:generateContent", JSON, names("glm-1"), AMBIGUOUS),
    "another case": ("/v1beta/Models/gpt-9:generateContent", JSON, names("glm-1"), AMBIGUOUS),
    "a slash behind": ("/v1beta/models/gpt-9:generateContent/", JSON, names("glm-1"), AMBIGUOUS),
    "Gemini": ("/v1beta/models/glm-1:generateContent", JSON, names("gpt-9"), AMBIGUOUS),
    "Azure": ("/openai/deployments/glm-1/chat/completions", JSON, names("gpt-9"), AMBIGUOUS),
    "Azure's form": ("/openai/deployments/glm-1/audio/transcriptions", FORM, form(GPT), AMBIGUOUS),
    "Azure, compressed": ("/openai/deployments/glm-1/chat/completions", JSON + GZIP, gzip.compress(names("gpt-9")), AMBIGUOUS),
    "Bedrock": ("/model/glm-1/invoke", JSON, names("gpt-9"), AMBIGUOUS),
    "Bedrock, the operation encoded": ("/model/gpt-9/i%6evoke", JSON, names("glm-1"), AMBIGUOUS),
    "deployments": ("/deployments/gpt-9/chat/completions", JSON, names("glm-1"), AMBIGUOUS),
    "azure/deployments": ("/azure/deployments/gpt-9/chat/completions", JSON, names("glm-1"), AMBIGUOUS),
    "engines": ("/v1/engines/gpt-9/chat/completions", JSON, names("glm-1"), AMBIGUOUS),
    "path and query": ("/openai/deployments/glm-1/chat/completions?model=gpt-9", JSON, b"{}", AMBIGUOUS),
    # a path that names a model, but nobody knows which one
    "models/NAME/chat": ("/v1/models/gpt-9/chat/completions", JSON, names("glm-1"), AMBIGUOUS),
    "models/NAME/chat, the same model": ("/v1/models/glm-1/chat/completions", JSON, names("glm-1"), AMBIGUOUS),
    "deployments with a slash": ("/openai/deployments/glm-1/gpt-9/chat/completions", JSON, b"{}", AMBIGUOUS),
    "Bedrock with a slash": ("/model/glm-1/gpt-9/converse", JSON, b"{}", AMBIGUOUS),
    "decoded twice": ("/v1beta/models/gpt-9%253AgenerateContent", JSON, names("glm-1"), AMBIGUOUS),
    "path parameters": ("/v1beta/models;x=1/gpt-9:generateContent", JSON, names("glm-1"), AMBIGUOUS),
    # the query
    "query and body": (CHAT + "?model=gpt-9", JSON, names("glm-1"), AMBIGUOUS),
    "deployment and model": (CHAT + "?deployment=gpt-9&model=glm-1", JSON, b"{}", AMBIGUOUS),
    "deployment and body": (CHAT + "?deployment=gpt-9", JSON, names("glm-1"), AMBIGUOUS),
    # headers
    "two content-types": (CHAT, JSON + FIELDS, names("glm-1"), AMBIGUOUS),
    "two content-types in one": (CHAT, [("Content-Type", "application/json, multipart/form-data; boundary=xyz")], names("glm-1"), AMBIGUOUS),
    "gzip twice": (CHAT, [("Content-Type", "text/plain")] + GZIP + GZIP, gzip.compress(names("glm-1")), AMBIGUOUS),
    "gzip and identity": (CHAT, [("Content-Type", "text/plain")] + GZIP + [("Content-Encoding", "identity")], gzip.compress(names("glm-1")),
                          AMBIGUOUS),
    "UTF-7": (CHAT, [("Content-Type", "application/json; charset=utf-7")], b'{"model":"glm-1","+AG0-odel":"gpt-9"}', AMBIGUOUS),
    "UTF-16": (CHAT, [("Content-Type", "application/json; charset=utf-16")], names("glm-1"), AMBIGUOUS),
    # multipart
    "name in pieces": (CHAT, FORM, form(part(b'name*0="mo"; name*1="del"', b"gpt-9"), GLM), MALFORMED),
    "name in encoded pieces": (CHAT, FORM, form(part(b"name*0*=utf-8''mo; name*1=del", b"gpt-9"), GLM), MALFORMED),
    "name extended": (CHAT, FORM, form(part(b"NAME*=utf-8''model", b"gpt-9"), GLM), MALFORMED),
    "name with a blank": (CHAT, FORM, form(part(b'name ="model"', b"gpt-9"), GLM), MALFORMED),
    "name escaped": (CHAT, FORM, form(part(b'name="mo\\del"', b"gpt-9"), GLM), MALFORMED),
    "name in a file's name": (CHAT, FORM, form(part(b'filename="a; name=model; b"; name="x"', b"gpt-9"), GLM), MALFORMED),
    "two names": (CHAT, FORM, form(part(b'name="x"; name="model"', b"gpt-9"), GLM), MALFORMED),
    "two dispositions": (CHAT, FORM, form(part(b'name="model"', b"gpt-9", b'Content-Disposition: form-data; name="x"\r\n'), GLM), MALFORMED),
    "a list": (CHAT, FORM, form(part(b'name="model[]"', b"gpt-9"), GLM), AMBIGUOUS),
    "a name in brackets": (CHAT, FORM, form(part(b'name="[model]"', b"gpt-9"), GLM), AMBIGUOUS),
    "a name in single quotes": (CHAT, FORM, form(part(b"name='model'", b"gpt-9"), GLM), MALFORMED),
    "a single quote in front of a value": (CHAT, FORM, form(part(b"filename='a; name=model; x='", b"glm-1")), MALFORMED),
    "a blank in front of a name": (CHAT, FORM, form(part(b'name=" model"', b"gpt-9"), GLM), AMBIGUOUS),
    "a charset of a part": (CHAT, FORM, form(part(b'name="model"', b"glm-1", b"Content-Type: text/plain; charset=utf-16\r\n")), INVALID),
    "boundary in pieces": (CHAT, [("Content-Type", 'multipart/form-data; boundary=xyz; boundary*0="ab"; boundary*1="c"')], form(GLM), MALFORMED),
    "boundary extended": (CHAT, [("Content-Type", "multipart/form-data; boundary=xyz; Boundary*=utf-8''abc")], form(GLM), MALFORMED),
    # forms
    "form twice": (CHAT, FIELDS, b"model=glm-1&model=gpt-9", AMBIGUOUS),
    "form, a list": (CHAT, FIELDS, b"model[]=gpt-9&model=glm-1", AMBIGUOUS),
    "form, brackets": (CHAT, FIELDS, b"[model]=gpt-9&model=glm-1", AMBIGUOUS),
    "form, a BOM": (CHAT, FIELDS, b"\xef\xbb\xbfmodel=gpt-9&model=glm-1", AMBIGUOUS),
    "form, a blank in front": (CHAT, FIELDS, b"+model=gpt-9&model=glm-1", AMBIGUOUS),
    "form, a name encoded": (CHAT, FIELDS, b"mod%65l=gpt-9&model=glm-1", AMBIGUOUS),
    # names
    "a blank in front": (CHAT, JSON, names(" glm-1"), INVALID),
    "a blank behind": (CHAT, JSON, names("glm-1 "), INVALID),
    "a tab": (CHAT, JSON, names("glm-1\t"), INVALID),
    "no-break space": (CHAT, JSON, names("\u00a0glm-1"), INVALID),
    "no width": (CHAT, JSON, names("\u200bglm-1"), INVALID),
    "byte order mark": (CHAT, JSON, names("\ufeffglm-1"), INVALID),
    "soft hyphen": (CHAT, JSON, names("glm-1\u00ad"), INVALID),
    "a blank in the path": ("/v1beta/models/%20glm-1:generateContent", JSON, b"{}", INVALID),
    "a blank in the query": (CHAT + "?model=%20glm-1", JSON, b"{}", INVALID),
    "a blank in a form": (CHAT, FIELDS, b"model=+glm-1", INVALID),
    "a blank behind models/": (CHAT, JSON, names("models/ glm-1"), INVALID),
    "a model and null": (CHAT, JSON, b'{"model":"glm-1","model":null}', AMBIGUOUS),
    "models/ and another": (CHAT, JSON, b'{"model":"models/glm-1","model":"gpt-9"}', AMBIGUOUS),
    # stream
    "stream twice": (CHAT, JSON, b'{"model":"glm-1","stream":true,"stream":false}', AMBIGUOUS),
    "stream in another case": (CHAT, JSON, b'{"model":"glm-1","stream":false,"Stream":true}', AMBIGUOUS),
    "stream escaped": (CHAT, JSON, b'{"model":"glm-1","stream":false,"str\\u0065am":true}', AMBIGUOUS),
    "stream in a form": (CHAT, FIELDS, b"model=glm-1&stream=true&stream=false", AMBIGUOUS),
}


@pytest.mark.parametrize("case", REFUSED)
def test_two_readings_are_refused(gateway, case):
    target, headers, body, code = REFUSED[case]
    answer = gateway.call("POST", target, headers + bearer(), body)
    gemini = "odels" in target and ("/v1beta/" in target or ":" in target)
    answer.refused(400, code, "gemini" if gemini else "openai")


# Queries of which two parsers read two models, or of which one reads a model that another one does not see.
QUERIES = ["mod%65l=gpt-9&model=glm-1", "model=glm-1&model=gpt-9", "model=glm-1&Model=gpt-9", "model=glm-1&+model=gpt-9", "model=glm-1&%20model=gpt-9",
           "model[]=gpt-9&model=glm-1", "model=glm-1&a=b;model=gpt-9", "model=glm-1;model=gpt-9", "deployment=gpt-9&model=glm-1", "mod%2565l=gpt-9&model=glm-1", "Model=glm-1"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_with_two_readings(gateway, query):
    """Beside a body and without one, and in the handshake of a WebSocket."""
    gateway.call("POST", CHAT + "?" + query, JSON + bearer(), names("glm-1")).refused(400, AMBIGUOUS)
    gateway.call("POST", CHAT + "?" + query, bearer()).refused(400, AMBIGUOUS)
    gateway.call("GET", "/v1/realtime?" + query, WEBSOCKET + bearer()).refused(400, AMBIGUOUS)


@pytest.mark.parametrize("names", [("gpt-9", "glm-1"), ("glm-1", "glm-1")])
def test_two_headers_that_name_the_model_of_a_handshake(gateway, names):
    said = [("x-codex-turn-metadata", json.dumps({"model": name})) for name in names]
    gateway.call("GET", "/v1/realtime", WEBSOCKET + bearer() + said).refused(400, AMBIGUOUS)
    assert gateway.post(CHAT, {"model": "glm-1"}, bearer() + said).status == 200    # where it is no handshake, the header says nothing


# id: (upstream, target, headers, body)
AGREED = {
    "Gemini's embedContent": ("glm", "/v1beta/models/glm-1:embedContent", JSON, names("models/glm-1")),
    "Azure": ("glm", "/openai/deployments/glm-1/chat/completions", JSON, names("glm-1", stream=True)),
    "Azure, null": ("glm", "/openai/deployments/glm-1/chat/completions", JSON, names(None)),
    "Azure's form": ("glm", "/openai/deployments/glm-1/audio/transcriptions", FORM, form(GLM)),
    "query and body": ("glm", CHAT + "?model=glm-1", JSON, names("models/glm-1")),
    "models/": ("glm", CHAT, JSON, names("models/glm-1")),
    "null": ("star", CHAT, JSON, b'{"model":null,"messages":[]}'),
    "Vertex counts tokens": ("glm", VERTEX + "count-tokens:rawPredict", JSON, names("glm-1")),
    "an ARN with slashes": ("arn", "/model/" + ARN + "/converse", JSON, b"{}"),
    "an ARN, encoded": ("arn", "/model/" + ARN.replace(":", "%3A").replace("/", "%2F") + "/converse", JSON, b"{}"),
    "Azure's AI Inference": ("glm", "/models/chat/completions", JSON, names("glm-1")),
    "a path's body that cannot be read": ("glm", "/v1beta/models/glm-1:generateContent", JSON + [("Content-Encoding", "x-odd")], b"?"),
    "stream twice alike": ("glm", CHAT, JSON, b'{"model":"glm-1","stream":true,"stream":true}'),
    "a charset": ("glm", CHAT, [("Content-Type", 'application/json; charset="UTF-8"')], names("glm-1")),
}


@pytest.mark.parametrize("case", AGREED)
def test_one_reading_is_routed(gateway, case):
    name, target, headers, body = AGREED[case]
    got = gateway.call("POST", target, headers + bearer(), body).only(gateway.by_name[name])
    assert got.body == body and got.target == target
    assert got.has(CLIENT_KEY) == (name in ("arn", "star"))
    if name == "glm":
        assert got.header("authorization") == "Bearer " + GLM_KEY


def test_one_model_is_asked_for(gateway):
    got = gateway.call("GET", "/v1/models/glm-1", bearer()).only(gateway.by_name["glm"])
    assert got.header("authorization") == "Bearer " + GLM_KEY
    gateway.call("GET", "/v1/models/%20glm-1", bearer()).refused(400, INVALID)
