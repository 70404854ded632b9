# SPDX-License-Identifier: MIT
# Debian's PostgreSQL for the fleet of the demo. Gateways reach it by its unix socket alone.
FROM docker.io/library/debian:12-slim
RUN mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf && \
    apt-get -qq update && apt-get -qq -y --no-install-recommends install postgresql-15 > /dev/null && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && usermod -u 9607 postgres && groupmod -g 9607 postgres && \
    install -d -o 9607 -g 9607 -m 0700 /data && install -d -o 9607 -g 9607 -m 0755 /run/fleet-db
COPY dist/compose/postgres-run /usr/local/bin/
RUN chmod 0755 /usr/local/bin/postgres-run
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin
USER 9607:9607
# Ends the sessions, then ends.
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/bin/postgres-run"]
