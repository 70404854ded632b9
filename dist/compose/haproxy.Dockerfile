# SPDX-License-Identifier: MIT
# Debian's HAProxy with this project's configuration; its backends come from the agent, see dist/compose/haproxy-run.
FROM docker.io/library/debian:12-slim
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install haproxy ca-certificates > /dev/null && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && \
    install -d -m 2750 -o 9602 -g 9600 /run/spoa-llm && install -d -m 2750 -o 9605 -g 9600 /run/spoa-llm-tap && \
    install -d -m 2750 -o 9601 -g 9605 /run/spoa-llm-legs
COPY haproxy.cfg.example spoe.conf dist/compose/haproxy-run /usr/local/share/llm/
RUN sed '/^# ---- backends/,$d' /usr/local/share/llm/haproxy.cfg.example > /usr/local/share/llm/haproxy.cfg && \
    chmod 0755 /usr/local/share/llm/haproxy-run
# GLIBC_TUNABLES: as dist/haproxy.service.d.conf says. A leg's socket has the group of its directory, the tap's.
ENV LLM_SPOE_CONF=/usr/local/share/llm/spoe.conf \
    LLM_LEG_ACCESS="mode 660" \
    GLIBC_TUNABLES=glibc.malloc.trim_threshold=134217728:glibc.malloc.mmap_threshold=33554432:glibc.malloc.tcache_count=256
USER 9601:9600
# Lets its connections end, then ends.
STOPSIGNAL SIGUSR1
ENTRYPOINT ["/usr/local/share/llm/haproxy-run"]
