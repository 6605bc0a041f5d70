#include "client/cli/bases_pull.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/catalog_tables.h"
#include "client/cli/output.h"
#include "client/cli/upload_progress.h"
#include "client/hub/pull.h"
#include "client/uploads.h"
#include "client/version.h"
#include "common/formats/files.h"
#include "common/formats/status.h"
#include "common/ids.h"

namespace tenon::cli {
namespace {

struct PullFlags {
  std::string repository;
  std::string revision = "main";
  std::string name;
  std::string cache;
  std::string endpoint = hub::kDefaultEndpoint;
  std::string token_file;
};

absl::StatusOr<std::string> Token(const PullFlags& flags) {
  if (!flags.token_file.empty()) return ReadToken(flags.token_file);
  const char* token = std::getenv("HF_TOKEN");
  return token == nullptr ? std::string() : std::string(absl::StripAsciiWhitespace(token));
}

// Before anything is downloaded: the server can be reached, and the name is free or is a base already.
absl::Status CheckServer(Cli& cli, const std::string& id) {
  v1::GetBaseRequest request;
  request.set_name("bases/" + id);
  const auto base = cli.client().Call(cli.client().catalog(), &v1::CatalogService::Stub::GetBase, request);
  return absl::IsNotFound(base.status()) ? absl::OkStatus() : base.status();
}

absl::Status Pull(Cli& cli, const PullFlags& flags) {
  RETURN_IF_ERROR(hub::CheckRepository(flags.repository, "ORG/NAME"));
  const std::string id = flags.name.empty() ? hub::IdOf(flags.repository) : flags.name;
  RETURN_IF_ERROR(CheckId(id, "--name"));
  hub::HubOptions options{.endpoint = flags.endpoint};
  ASSIGN_OR_RETURN(options.token, Token(flags));
  options.http = {.stall = cli.client().options().timeout,
                  .user_agent = absl::StrCat("tenon/", kVersion),
                  .cancelled = [&cli] { return cli.calls().cancelled(); }};
  options.retry.wait = [&cli](absl::Duration time) { return cli.calls().WaitForCancel(time); };
  options.retry.note = [](const std::string& text) { PrintNote(text); };
  hub::PullOptions pull{.repository = flags.repository, .revision = flags.revision, .cache = flags.cache};
  if (flags.cache.empty()) {
    ASSIGN_OR_RETURN(pull.cache, hub::DefaultCache());
  }
  RETURN_IF_ERROR(CheckServer(cli, id));
  hub::Hub hub(options);
  hub::Pulled pulled;
  {
    UploadProgress progress(flags.repository, "received");
    ASSIGN_OR_RETURN(pulled, hub::Pull(hub, pull, progress.callback()));
  }
  UploadProgress progress(id);
  ASSIGN_OR_RETURN(const v1::Base base, client::AddBase(cli.client(), id, pulled.folder, progress.callback()));
  if (cli.json()) {
    nlohmann::ordered_json result = ToJsonValue(base);
    result["source"] = {{"repository", flags.repository},
                        {"commit", pulled.commit},
                        {"weightsCommit", pulled.weights_commit},
                        {"folder", pulled.folder.string()}};
    Print(result.dump());
    return absl::OkStatus();
  }
  Print(BaseTable({base}));
  PrintNote(absl::StrCat("From ", flags.repository, " at ", pulled.commit,
                         pulled.weights_commit == pulled.commit
                             ? ""
                             : absl::StrCat(", its weights as the Hub's bot converted them at ", pulled.weights_commit),
                         "; files in ", pulled.folder.string(), "."));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadToken(const std::string& file) {
  constexpr int64_t kMaxTokenBytes = 4096;
  const auto wrong = [&](const std::string& why) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat(file, " ", why), "--token-file");
  };
  const auto text = formats::ReadFile(file, kMaxTokenBytes, Reason::kFieldInvalid);
  if (!text.ok()) return wrong("cannot be read, or is no token: one line of at most 4096 bytes.");
  const std::string token(absl::StripAsciiWhitespace(*text));
  for (const char c : token) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)))
      return wrong("does not hold a token: one line, without spaces.");
  }
  if (token.empty()) return wrong("is empty.");
  return token;
}

void AddPull(CLI::App& bases, Cli& cli) {
  auto flags = std::make_shared<PullFlags>();
  CLI::App* command = AddCommand(bases, cli, "pull", "Download a base from the Hugging Face Hub, and add it",
                                 "tenon bases pull sentence-transformers/all-MiniLM-L6-v2 --name minilm\n\n"
                                 "Takes safetensors alone, never a pickle; where a repository has only pickled "
                                 "weights, the Hub's own conversion of "
                                 "them.\nWhat the engine cannot run is refused before the weights travel. A download "
                                 "that was cut off goes on where it "
                                 "ended:\ntype the same again. --timeout is how long the Hub may be silent.",
                                 [&cli, flags] { return Pull(cli, *flags); });
  command->add_option("REPOSITORY", flags->repository, "ORG/NAME on the Hub")->required();
  command->add_option("--revision", flags->revision, "Branch, tag, commit or refs/pr/N; pinned to its commit")
      ->capture_default_str();
  command->add_option("--name", flags->name, "Id of the base; the repository's name in lower case by default");
  command->add_option("--cache", flags->cache, "Folder that keeps the files; ~/.cache/tenon/hub by default");
  command->add_option("--endpoint", flags->endpoint, "The Hub, or a mirror that speaks its API")
      ->envname("HF_ENDPOINT")
      ->capture_default_str();
  command->add_option("--token-file", flags->token_file, "File with your token, for gated models; HF_TOKEN otherwise");
}

}  // namespace tenon::cli
