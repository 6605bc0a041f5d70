list(APPEND app_sources catalog_adapter_check.cc catalog_adapters.cc catalog_base_check.cc catalog_bases.cc catalog_files.cc catalog_merge.cc
  catalog_requests.cc catalog_sweep.cc datasets.cc documents.cc documents_collections.cc documents_embed.cc retrieval_eval.cc)
list(APPEND app_deps tenon_common tenon_internal_protos tenon_server_catalog tenon_server_retrieval tenon_server_dispatch)
