list(APPEND api_sources eval_service.cc finetune_service.cc job_watch.cc)
list(APPEND api_deps tenon_server_app)
