# SPDX-License-Identifier: MIT
FROM docker.io/library/debian:12-slim
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install prometheus > /dev/null && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && install -d -o 9603 -g 9603 -m 0750 /data
COPY dist/compose/prometheus.yml dist/alerts*.yml /etc/prometheus/
USER 9603:9603
ENTRYPOINT ["/usr/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"]
