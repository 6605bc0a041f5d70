list(APPEND app_sources job_board.cc job_cleaner.cc job_create.cc job_loop.cc job_preview.cc job_records.cc job_report.cc job_scheduler.cc job_seq2seq.cc job_thread.cc job_watchers.cc stored_dataset.cc)
list(APPEND app_deps tenon_common tenon_internal_protos tenon_server_jobs tenon_server_catalog)
