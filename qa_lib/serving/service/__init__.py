"""Answers over HTTP: one application, behind Ray Serve or alone with ONNX Runtime.

    python -m jobs.serve runs/mine                           # Ray Serve
    python -m qa_lib.serving.service.slim runs/mine-onnx     # no torch, no Ray

`app` is the HTTP interface (requests, errors, limits, token, metrics, OpenAPI) over a `Backend`,
which answers. `deployments` is the backend of Ray Serve, `slim` the one in a single process; both
answer batches of `batching` with an `Answerer`.
"""
