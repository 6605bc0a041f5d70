// How a noun's file adds its commands.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "client/cli/cli.h"

namespace tenon::cli {

// A noun (`jobs`) that needs a verb.
inline CLI::App* AddNoun(CLI::App& app, const std::string& name, const std::string& description) {
  return app.add_subcommand(name, description)->require_subcommand(1)->fallthrough();
}

// A command that runs `action` when it was chosen. `example` is what --help teaches with.
inline CLI::App* AddCommand(CLI::App& parent, Cli& cli, const std::string& name, const std::string& description,
                            const std::string& example, std::function<absl::Status()> action) {
  CLI::App* command = parent.add_subcommand(name, description)->fallthrough();
  command->footer("\nExample:\n  " + example);
  command->callback([&cli, action = std::move(action)] { cli.set_action(action); });
  return command;
}

void AddUp(CLI::App& app, Cli& cli);
void AddJobs(CLI::App& app, Cli& cli);
void AddInference(CLI::App& app, Cli& cli);
void AddGenerate(CLI::App& app, Cli& cli);
void AddSummarize(CLI::App& app, Cli& cli);
void AddSpans(CLI::App& app, Cli& cli);
void AddRetrieval(CLI::App& app, Cli& cli);
void AddCatalog(CLI::App& app, Cli& cli);
void AddDatasets(CLI::App& app, Cli& cli);
void AddAdmin(CLI::App& app, Cli& cli);
void AddCompletion(CLI::App& app, Cli& cli);

// The whole command tree.
void AddCommands(CLI::App& app, Cli& cli);

// After a command line that could not be parsed: which word of it is no command, and the nearest that is; empty when
// something else was wrong.
std::string ExplainUnknownCommand(const CLI::App& app);

}  // namespace tenon::cli
