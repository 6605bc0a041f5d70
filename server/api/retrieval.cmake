list(APPEND api_sources catalog_service.cc dataset_service.cc retrieval_service.cc)
list(APPEND api_deps tenon_server_app)
