# Targets: `serving` (the default) answers /act on port 8000 at once, with a policy that was trained during the build;
# `training` retrains every 15 minutes. Both have their model repository in /models: mount your own there.
#
#   docker build --tag dqn-policy-server .
#   docker run --publish 8000:8000 --read-only --tmpfs /tmp dqn-policy-server
#
# TORCH_INDEX_URL: package index for torch, such as that of PyTorch's CPU wheels.

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/dqn/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    DQN_REPOSITORY=/models

# The libraries, which rarely change, before the sources, which often do.
FROM base AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv --without-pip /opt/dqn
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; \
extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
[open(f'{extra}.txt', 'w').write('\n'.join(x for x in extras['models'] + extras[extra] if 'dqn-' not in x)) \
for extra in ('train', 'serve')]"

FROM builder AS wheel
COPY README.md LICENSE ./
COPY models models
COPY experience experience
COPY training training
COPY serving serving
COPY client client
RUN pip wheel --no-deps --wheel-dir . .

FROM builder AS training-builder
ARG TORCH_INDEX_URL=
RUN pip --python /opt/dqn/bin/python install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} \
    "$(grep '^torch==' constraints.txt)"
RUN pip --python /opt/dqn/bin/python install --requirement train.txt --constraint constraints.txt
COPY --from=wheel /build/*.whl ./
RUN pip --python /opt/dqn/bin/python install --no-deps ./*.whl

FROM training-builder AS first-policy
RUN dqn-train --preset cartpole

FROM builder AS serving-builder
RUN pip --python /opt/dqn/bin/python install --requirement serve.txt --constraint constraints.txt && \
    cd /opt/dqn/lib/python3*/site-packages && \
    # remove what no running server imports: tests, tools, and the copy of ONNX Runtime for C programs
    find . -type d -name tests -prune -exec rm -rf {} + && \
    rm -rf numpy/f2py onnxruntime/transformers onnxruntime/quantization onnxruntime/tools && \
    rm -f onnxruntime/capi/libonnxruntime.so.*
COPY --from=wheel /build/*.whl ./
RUN pip --python /opt/dqn/bin/python install --no-deps ./*.whl && \
    cd /opt/dqn && rm -r lib/python3*/site-packages/dqn_training lib/python3*/site-packages/dqn_client && \
    # remove the commands that do not work without the packages removed above
    for command in bin/dqn-*; do $command --help >/dev/null || rm $command; done

FROM base AS training
COPY --from=training-builder /opt/dqn /opt/dqn
COPY --from=first-policy --chown=10001:10001 /models /models
ENV HOME=/tmp USER=dqn DQN_RUNS=/tmp/runs
USER 10001:10001
EXPOSE 8001
ENTRYPOINT ["dqn-retrain", "--metrics-host", "0.0.0.0"]
CMD ["--every", "15m"]

FROM base AS serving
RUN rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip*
COPY --from=serving-builder /opt/dqn /opt/dqn
COPY --from=first-policy --chown=10001:10001 /models /models
ENV DQN_HOST=0.0.0.0 DQN_PORT=8000
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import http.client, os, ssl, sys; \
where = ('127.0.0.1', int(os.environ['DQN_PORT'])); \
server = http.client.HTTPConnection(*where, timeout=3) if not os.environ.get('DQN_TLS_CERTIFICATE') else \
http.client.HTTPSConnection(*where, timeout=3, context=ssl._create_unverified_context()); \
server.request('GET', '/readyz'); \
sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["dqn-serve"]
