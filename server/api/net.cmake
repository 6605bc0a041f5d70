# The wrapper around every call, metrics, inference, the worker link, admin.
list(APPEND api_sources call_runner.cc thread_pool.cc metrics_rpc.cc)
list(APPEND api_deps tenon_server_access tenon_common tenon_internal_protos spdlog::spdlog prometheus-cpp::core prometheus-cpp::pull)
