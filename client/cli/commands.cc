#include "client/cli/command.h"

namespace tenon::cli {

void AddCommands(CLI::App& app, Cli& cli) {
  Settings& settings = cli.settings();
  app.description("Tenon: fine-tune small adapters on a shared frozen model, and serve them.");
  app.require_subcommand(1);
  app.add_option("--server", settings.server, "Address of the server, host:port")
      ->envname("TENON_SERVER")
      ->capture_default_str();
  app.add_option("--timeout", settings.timeout, "Of one call: 90s, 2m; uploads and watches have none")
      ->capture_default_str();
  app.add_option("--output", settings.output, "table, or json: protobuf's JSON mapping")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.footer(
      "\nStart here:\n"
      "  tenon up --base minilm=./all-MiniLM-L6-v2          a server and a worker on this machine\n"
      "  tenon jobs finetune --help                          train an adapter\n"
      "  tenon classify --adapter tickets \"Where is it?\"     use it\n"
      "\nExit codes: 0 done; 2 wrong command line or input; 3 not found; 4 conflict with what is there, or a failed "
      "job;\n"
      "5 not allowed; 6 server unreachable; 7 queue or disk full; 8 too late; 130 cancelled; 1 anything else.");
  AddUp(app, cli);
  AddJobs(app, cli);
  AddInference(app, cli);
  AddRetrieval(app, cli);
  AddCatalog(app, cli);
  AddDatasets(app, cli);
  AddAdmin(app, cli);
  AddCompletion(app, cli);
}

}  // namespace tenon::cli
