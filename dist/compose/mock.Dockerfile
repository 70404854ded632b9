# SPDX-License-Identifier: MIT
# Mock upstreams, the same as the tests', and the program that sends demo traffic.
FROM docker.io/library/debian:12-slim
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install python3-minimal libpython3-stdlib > /dev/null && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY tests/rig/upstream.py dist/compose/mock.py dist/compose/load.py /opt/mock/
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 9604:9604
ENTRYPOINT ["/usr/bin/python3"]
CMD ["/opt/mock/mock.py"]
