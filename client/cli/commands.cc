#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/set_option.h"

namespace tenon::cli {

std::string ExplainUnknownCommand(const CLI::App& app) {
  const CLI::App* noun = &app;
  while (!noun->get_subcommands().empty()) noun = noun->get_subcommands().front();
  std::vector<std::string> names;
  for (const CLI::App* command : noun->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
  if (names.empty() || rest.empty() || absl::StartsWith(rest[0], "-")) return "";
  const std::string where = noun == &app ? "tenon" : absl::StrCat("tenon ", noun->get_name());
  return absl::StrCat("There is no command '", where, " ", rest[0], "'; did you mean '", where, " ",
                      Nearest(rest[0], names), "'?");
}

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
  AddGenerate(app, cli);
  AddSummarize(app, cli);
  AddSpans(app, cli);
  AddRetrieval(app, cli);
  AddCatalog(app, cli);
  AddDatasets(app, cli);
  AddAdmin(app, cli);
  AddCompletion(app, cli);
}

}  // namespace tenon::cli
