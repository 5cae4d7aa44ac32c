# A small image that serves one exported model: ONNX Runtime and tokenizers, no torch, no Ray.
#
#     make export RUN=runs/mine ARGS="--export.quantize --run-name mine-onnx"
#     docker build -f cluster/slim.Dockerfile --build-arg RUN=runs/mine-onnx -t qa-serve .
#     docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/token:/run/token:ro" qa-serve
#
# The token is a file that uid 10001 may read:
#     openssl rand -hex 32 > token && chmod 600 token && sudo chown 10001 token
FROM python:3.12-slim
COPY requirements.txt /tmp/
RUN pip install --no-cache-dir --constraint /tmp/requirements.txt \
        fastapi numpy onnxruntime prometheus-client pyarrow pydantic pyyaml tokenizers uvicorn
WORKDIR /opt/qa-suite
COPY qa_lib qa_lib
COPY jobs/recipes jobs/recipes
ARG RUN
COPY ${RUN}/model/config.json ${RUN}/model/tokenizer.json ${RUN}/model/answering.jso[n] model/
COPY ${RUN}/model/onnx model/onnx
ENV PYTHONPATH=/opt/qa-suite PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false BACKEND=int8
USER 10001
EXPOSE 8000
CMD exec python -m qa_lib.serving.service.slim model --serve.backend "$BACKEND" \
        --serve.host 0.0.0.0 --serve.token-file /run/token
