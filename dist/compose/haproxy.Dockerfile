# SPDX-License-Identifier: MIT
# Debian's HAProxy with this project's configuration; its backends are the agent's word, see dist/compose/haproxy-run.
FROM docker.io/library/debian:12-slim
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install haproxy ca-certificates > /dev/null && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && \
    install -d -m 2750 -o 9602 -g 9600 /run/spoa-llm
COPY haproxy.cfg.example spoe.conf dist/compose/haproxy-run /usr/local/share/llm/
RUN sed '/^# ---- backends/,$d' /usr/local/share/llm/haproxy.cfg.example > /usr/local/share/llm/haproxy.cfg && \
    chmod 0755 /usr/local/share/llm/haproxy-run
# GLIBC_TUNABLES: as dist/haproxy.service.d.conf says.
ENV LLM_SPOE_CONF=/usr/local/share/llm/spoe.conf \
    GLIBC_TUNABLES=glibc.malloc.trim_threshold=134217728:glibc.malloc.mmap_threshold=33554432
USER 9601:9600
# Lets its connections end, then ends.
STOPSIGNAL SIGUSR1
ENTRYPOINT ["/usr/local/share/llm/haproxy-run"]
