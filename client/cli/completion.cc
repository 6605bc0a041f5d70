// tenon completion bash | zsh: a script made from the command tree itself, so that the two cannot disagree.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/output.h"

namespace tenon::cli {
namespace {

// Words that may follow `path`: verbs and long options, those of the nouns above included.
void AddCases(const CLI::App& app, const std::string& path, const std::vector<std::string>& inherited,
              std::string* cases) {
  std::vector<std::string> words;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    words.push_back(command->get_name());
  std::vector<std::string> options = inherited;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (std::find(options.begin(), options.end(), "--" + name) == options.end()) options.push_back("--" + name);
    }
  }
  words.insert(words.end(), options.begin(), options.end());
  absl::StrAppend(cases, "    '", path, "') words='", absl::StrJoin(words, " "), "' ;;\n");
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    AddCases(*command, path.empty() ? command->get_name() : absl::StrCat(path, " ", command->get_name()), options,
             cases);
  }
}

std::string BashScript(const CLI::App& app) {
  std::string cases;
  AddCases(app, "", {}, &cases);
  return absl::StrCat(
      "# Completion of tenon. Load it with: source <(tenon completion bash)\n"
      "_tenon() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} path= word words=\n"
      "  case $previous in\n"
      "    --input|--train|--validation|--data|--queries|--qrels|--ports-file|--token-file|--cache) "
      "COMPREPLY=($(compgen -f -- "
      "\"$current\")); return ;;\n"
      "    --output) COMPREPLY=($(compgen -W 'table json' -- \"$current\")); return ;;\n"
      "    --task)\n"
      "      case \" ${COMP_WORDS[*]} \" in *' evaluate '*) words='sequence_classification seq2seq feature_extraction' "
      ";; "
      "*) words='sequence_classification seq2seq extractive' ;; esac\n"
      "      COMPREPLY=($(compgen -W \"$words\" -- \"$current\")); return ;;\n"
      "    --kind) COMPREPLY=($(compgen -W 'classification queries qrels records' -- \"$current\")); return ;;\n"
      "    --method)\n"
      "      case \" ${COMP_WORDS[*]} \" in *' summarize '*) words='mmr centroid lead scorer' ;; "
      "*) words='lora prompt_tuning bottleneck head full' ;; esac\n"
      "      COMPREPLY=($(compgen -W \"$words\" -- \"$current\")); return ;;\n"
      "    --early-stopping) COMPREPLY=($(compgen -W 'false true never' -- \"$current\")); return ;;\n"
      "  esac\n"
      "  previous=\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case $previous in --server|--timeout|--output) previous= ; continue ;; esac\n"
      "    case $word in [a-z]*) path=${path:+$path }$word ;; esac\n"
      "    previous=$word\n"
      "  done\n"
      "  # Values and texts are words too: the longest known beginning counts.\n"
      "  while :; do\n"
      "  case $path in\n",
      cases,
      "  esac\n"
      "  if [ -n \"$words\" ] || [ -z \"$path\" ]; then break; fi\n"
      "  case $path in *' '*) path=${path% *} ;; *) path= ;; esac\n"
      "  done\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$current\"))\n"
      "}\n"
      "complete -F _tenon tenon\n");
}

}  // namespace

void AddCompletion(CLI::App& app, Cli& cli) {
  CLI::App* completion = AddNoun(app, "completion", "Completion for your shell");
  AddCommand(*completion, cli, "bash", "Print the script for bash", "source <(tenon completion bash)", [&app] {
    Print(BashScript(app));
    return absl::OkStatus();
  });
  AddCommand(*completion, cli, "zsh", "Print the script for zsh", "source <(tenon completion zsh)", [&app] {
    Print("autoload -Uz compinit bashcompinit && compinit && bashcompinit\n" + BashScript(app));
    return absl::OkStatus();
  });
}

}  // namespace tenon::cli
