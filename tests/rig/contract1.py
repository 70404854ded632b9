"""haproxy.cfg and spoe.conf as they kept contract 1, made of those of contract 2: operators have such files, and the agent still answers them."""
import re

# What stands in haproxy.cfg once, and what stood in its place.
RULES = [
    ("acl llm_upgrade     var(txn.llm_flags),and(1) -m bool", "acl llm_upgrade     var(txn.llm_upgrade) -m found"),
    ('set-var(txn.llm_flags) "var(txn.llm_flags,$LLM_FLAGS),add(1)" if llm_some_upgrade', "set-var(txn.llm_upgrade) bool(true) if llm_some_upgrade"),
    ('    http-request set-var(txn.llm_flags) "var(txn.llm_flags,$LLM_FLAGS),add(2)" if llm_sk_ant\n',
     "    http-request set-var(txn.llm_contract) int(1)\n"
     "    http-request set-var(txn.llm_sk_ant) bool(true) if llm_sk_ant\n"
     "    http-request set-var(txn.llm_headers_unclear) bool(true) if { req.fhdr_cnt(content-type) gt 1 } || { req.fhdr_cnt(content-encoding) gt 1 }\n"
     "    http-request set-var(txn.llm_headers_unclear) bool(true) if llm_upgrade { req.fhdr_cnt(x-codex-turn-metadata) gt 1 }\n"),
    ('set-var(txn.llm_flags) "var(txn.llm_flags,$LLM_FLAGS),add(4)" if', "set-var(txn.llm_query_unclear) bool(true) if"),
    ("acl like_anthropic  var(txn.llm_flags),and(2) -m bool", "acl like_anthropic  var(txn.llm_sk_ant) -m bool"),
    (",unset-var(txn.llm.deny),unset-var(txn.llm.code) if llm_unseen llm_sampled !llm_beyond\n", " if llm_unseen llm_sampled !llm_beyond\n"),
    ("        http-request send-spoe-group llm llm-request-2   if llm_again\n",
     "        http-request send-spoe-group llm llm-request-2   if llm_again\n        http-request unset-var(txn.llm.code)             if llm_unseen { var(txn.llm.deny) -m str 0 }\n"),
    ("acl llm_replace     var(txn.llm.allow) -m str authorization x-api-key api-key x-goog-api-key", "acl llm_replace     var(txn.llm.auth) -m str replace"),
    ("acl llm_unmetered   var(txn.llm.metered) -m int 0\n", "acl llm_metered     var(txn.llm.metered) -m bool\n"),
    ("    acl llm_passthrough var(txn.llm.allow) -m str passthrough\n",
     "    acl llm_false       var(txn.llm.deny) -m int 0\n"
     "    acl llm_allowed     var(txn.llm.deny) -m str 0\n"
     "    acl llm_passthrough var(txn.llm.auth) -m str passthrough\n"
     "    acl llm_header      var(txn.llm.auth_header) -m str authorization x-api-key api-key x-goog-api-key\n"),
    ("    acl llm_denied      var(txn.llm.deny) -m found\n", ""),
    ("    acl denied          var(txn.llm.deny) -m found\n    acl allowed         var(txn.llm.allow) -m found\n",
     "    acl denied          var(txn.llm.deny) -m str 1\n    acl allowed         var(txn.llm.deny) -m str 0\n    acl false           var(txn.llm.deny) -m int 0\n"),
    ("acl passthrough     var(txn.llm.allow) -m str passthrough", "acl passthrough     var(txn.llm.auth) -m str passthrough"),
    ("    acl replace         var(txn.llm.allow) -m str authorization x-api-key api-key x-goog-api-key\n",
     "    acl replace         var(txn.llm.auth) -m str replace\n"
     "    acl header          var(txn.llm.auth_header) -m str authorization x-api-key api-key x-goog-api-key\n"),
    ("!denied backend_named passthrough || !denied backend_named replace value", "false allowed backend_named passthrough || false allowed backend_named replace header value"),
    ("    acl answered        var(txn.llm.allow) -m found\n", ""),
    ("if !known backend_named || !known path_openai", "if !known path_openai"),
    ("bool(true),unset-var(txn.llm.allow) if llm_query {", "int(1),set-var(txn.llm.deny) if llm_query {"),
    ("unset-var(txn.llm.allow) if llm_beyond_it", "set-var(txn.llm.deny)  int(1) if llm_beyond_it"),
]
FLAGS = ('    .if streq("$LLM_LEDGER","on")\n        args flags=var(txn.llm_flags)\n    .else\n'
         '        args flags=var(txn.llm_flags,8),add(0)\n    .endif\n')
# The same of the question in spoe.conf.
QUESTION = [
    (" headers=req.hdr_names\n", " model_param=url_param(model)\n"),
    ("length=req.fhdr(content-length),add(0)\n", "length=req.fhdr(content-length),add(0) sized=req.fhdr_cnt(content-length),bool\n"),
    ("    args ua=req.fhdr(user-agent)\n" + FLAGS + "    args model_param=url_param(model) deployment_param=url_param(deployment) model_hint=req.fhdr(x-codex-turn-metadata)\n"
     "    args project=var(txn.llm_project) client=var(txn.llm_client)\n",
     "    args upgrade=var(txn.llm_upgrade) ua=req.fhdr(user-agent)\n"
     "    args x_api_key=req.fhdr_cnt(x-api-key),bool api_key=req.fhdr_cnt(api-key),bool\n"
     "    args x_goog_api_key=req.fhdr_cnt(x-goog-api-key),bool anthropic_version=req.fhdr_cnt(anthropic-version),bool\n"
     "    args bearer_sk_ant=var(txn.llm_sk_ant) model_hint=req.fhdr(x-codex-turn-metadata)\n"
     "    args project=var(txn.llm_project) client=var(txn.llm_client)\n"
     "    args deployment_param=url_param(deployment) query_unclear=var(txn.llm_query_unclear) headers_unclear=var(txn.llm_headers_unclear)\n"
     "    args between=var(txn.llm_between)\n"
     "    args contract=int(1),and(txn.llm_contract)\n"),
    ("    .if version_atleast(3.4)\n        args between=var(txn.llm_between)\n    .endif\n", ""),
    (" headers=req.hdr_names ua=req.fhdr(user-agent)\n" + FLAGS + "    args guard",
     " ua=req.fhdr(user-agent)\n    args x_api_key=req.fhdr_cnt(x-api-key),bool api_key=req.fhdr_cnt(api-key),bool\n"
     "    args x_goog_api_key=req.fhdr_cnt(x-goog-api-key),bool anthropic_version=req.fhdr_cnt(anthropic-version),bool\n"
     "    args bearer_sk_ant=var(txn.llm_sk_ant) guard"),
    ("args ctype=var(txn.llm_ctype) cenc=res.fhdr(content-encoding)\n", "args ctype=var(txn.llm_ctype) cenc=res.fhdr(content-encoding) protocol=var(txn.llm.protocol)\n"),
]


def replaced(text, pairs):
    for new, old in pairs:
        assert text.count(new) == 1, "%r stands %d times in the file of contract 2" % (new, text.count(new))
        text = text.replace(new, old)
    return text


def haproxy_cfg(text):
    text = replaced(text, RULES)
    text = re.sub(r"send-spoe-group llm llm-request-2\b", "send-spoe-group llm llm-request", text)
    text = re.sub(r"\{ var\(txn\.llm\.allow\) -m str (\S+) \}( +)!llm_tapped", r"{ var(txn.llm.auth_header) -m str \1 }\2llm_replace !llm_tapped", text)
    text = re.sub(r"(?m)^ +use_backend .*", lambda rule: rule.group().replace("!llm_denied", "llm_false llm_allowed"), text).replace("llm_replace llm_value llm_false", "llm_replace llm_header llm_value llm_false")
    text = re.sub(r"(if allowed) !denied\b", r"\1", text)
    return re.sub(r"!llm_unmetered\b", "llm_METERED", text).replace("llm_unmetered", "!llm_metered").replace("llm_METERED", "llm_metered")


def spoe_conf(text):
    return replaced(text, QUESTION).replace("llm-request-2", "llm-request")
