-- Routes by the model that the request's body names, and replaces the credential. For HAProxy: haproxy-lua.cfg.
local cjson = require("cjson")
local routes = {
    { prefix = "glm-", backend = "ollama", key = os.getenv("OLLAMA_API_KEY") },
    { prefix = "kimi-", backend = "moonshot", key = os.getenv("MOONSHOT_API_KEY") },
    { prefix = "claude-", backend = "anthropic", key = os.getenv("ANTHROPIC_API_KEY") },
    { prefix = "gpt-", backend = "openai", key = os.getenv("OPENAI_API_KEY") },
}

-- Without txn.backend the configuration refuses the request.
core.register_action("llm_route", { "http-req" }, function(txn)
    local ok, body = pcall(cjson.decode, txn.f:req_body() or "")
    local model = ok and type(body) == "table" and body.model
    if type(model) ~= "string" then
        return
    end
    for _, route in ipairs(routes) do
        if model:sub(1, #route.prefix) == route.prefix and route.key then
            for _, name in ipairs({ "x-api-key", "api-key", "x-goog-api-key" }) do
                txn.http:req_del_header(name)
            end
            txn.http:req_set_header("authorization", "Bearer " .. route.key)
            txn:set_var("txn.backend", route.backend)
            txn:set_var("txn.model", model)
            return
        end
    end
end)

-- What the answer says of its tokens, for the log line.
core.register_action("llm_usage", { "http-res" }, function(txn)
    local ok, body = pcall(cjson.decode, txn.f:res_body() or "")
    local usage = ok and type(body) == "table" and body.usage
    if type(usage) == "table" then
        txn:set_var("txn.tokens_in", usage.prompt_tokens or usage.input_tokens or 0)
        txn:set_var("txn.tokens_out", usage.completion_tokens or usage.output_tokens or 0)
    end
end)
