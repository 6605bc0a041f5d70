# Inference and the worker link, on the event loop.
list(APPEND app_sources inference_router.cc worker_link.cc)
list(APPEND app_deps tenon_server_dispatch tenon_server_fleet tenon_common tenon_internal_protos)
