"""A small Python gateway, as a careful user writes it: aiohttp, json.loads, the route's key. HOST:PORT of each upstream and
the keys come from the environment, as for route.lua.

    gateway.py PORT [fault]      fault: every request meets a bug, for `make bench-odd`
"""
import json
import os
import sys

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

ROUTES = [(prefix, os.environ.get(name), os.environ.get(name + "_API_KEY"))
          for prefix, name in (("glm-", "OLLAMA"), ("kimi-", "MOONSHOT"), ("claude-", "ANTHROPIC"), ("gpt-", "OPENAI"))]
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}
CREDENTIALS = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}
FAULT = sys.argv[2:] == ["fault"]


def refusal(status, message):
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)


async def forward(request):
    if FAULT:
        raise RuntimeError("a bug")
    body = await request.read()
    try:
        model = json.loads(body)["model"]
        upstream, key = next((upstream, key) for prefix, upstream, key in ROUTES if model.startswith(prefix))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return refusal(400, "The request names no model that is served here.")
    if not key:
        return refusal(502, "The credential of this model's upstream is not configured.")
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP | CREDENTIALS]
    headers.append(("Authorization", "Bearer " + key))
    async with request.app["session"].request(request.method, "http://%s%s" % (upstream, request.path_qs), headers=headers, data=body) as answer:
        response = web.StreamResponse(status=answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                response.headers.add(name, value)
        response.content_length = answer.content_length
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def session(app):
    app["session"] = ClientSession(connector=TCPConnector(limit=0), auto_decompress=False, timeout=ClientTimeout(total=600))
    yield
    await app["session"].close()


def main():
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


main()
