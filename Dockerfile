# Server and labeling page:
#   docker build -t anymask .
#   docker run -p 8765:8765 -e ANYMASK_TOKEN=SECRET anymask
#   docker run -p 8765:8765 -e ANYMASK_TOKEN=SECRET -v "$PWD/photos:/data/photos" anymask annotate photos --host 0.0.0.0
# The default extras contain software under GPL (libx264 and libx265 in av) and LGPL (psycopg), see NOTICE.
# Without them: docker build --build-arg EXTRAS=studio -t anymask .
FROM python:3.12-slim AS wheel
RUN pip install --no-cache-dir hatchling
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m hatchling build -t wheel -d /wheels

FROM python:3.12-slim
ARG EXTRAS=studio,video,postgres
LABEL org.opencontainers.image.title="anymask" \
      org.opencontainers.image.description="Segmentation server and labeling page" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later AND LGPL-3.0-only"
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(ls /tmp/wheels/*.whl)[$EXTRAS]" \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && useradd --create-home anymask && mkdir /data /weights && chown anymask /data /weights
COPY LICENSE NOTICE /usr/share/doc/anymask/
USER anymask
WORKDIR /data
ENV ANYMASK_HOME=/weights
VOLUME ["/data", "/weights"]
EXPOSE 8765
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/health')"]
ENTRYPOINT ["anymask"]
# Any address but 127.0.0.1 requires a token: -e ANYMASK_TOKEN=SECRET
CMD ["serve", "--host", "0.0.0.0"]
