# The wrapper around every call, metrics, inference, the worker link, admin, the listeners.
list(APPEND api_sources admin_service.cc call_runner.cc generation_replies.cc generation_requests.cc grpc_listener.cc inference_generation.cc
  inference_replies.cc inference_service.cc inference_spans.cc metrics.cc
  metrics_process.cc metrics_rpc.cc metrics_store.cc span_requests.cc thread_pool.cc worker_link_service.cc)
list(APPEND api_deps tenon_server_app tenon_server_catalog tenon_server_access tenon_common tenon_internal_protos
  gRPC::grpc++_reflection spdlog::spdlog prometheus-cpp::core prometheus-cpp::pull)
