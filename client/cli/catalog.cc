// tenon adapters list | get | import | export | delete, tenon bases list | add | pull | delete
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/bases_pull.h"
#include "client/cli/catalog_tables.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/upload_progress.h"
#include "client/uploads.h"

namespace tenon::cli {
namespace {

absl::Status ListAdapters(Cli& cli) {
  v1::ListAdaptersResponse all;
  RETURN_IF_ERROR(client::ForEachPage<v1::ListAdaptersResponse>(
      [&](const std::string& token) {
        v1::ListAdaptersRequest request;
        request.set_page_size(1000);
        request.set_page_token(token);
        return cli.client().Call(cli.client().catalog(), &v1::CatalogService::Stub::ListAdapters, request);
      },
      [&](const v1::ListAdaptersResponse& page) { all.mutable_adapters()->MergeFrom(page.adapters()); }));
  if (cli.json()) {
    Print(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"ADAPTER", "BASE", "METHOD", "LABELS", "REVISIONS", "NEWEST", "CREATED"});
  for (const v1::Adapter& adapter : all.adapters()) {
    table.Add({adapter.name(), adapter.base(), Word(adapter.method()),
               Shorten(absl::StrJoin(adapter.labels(), ", "), 40), absl::StrCat(adapter.revisions_size()),
               ShortName(adapter.default_revision()).substr(0, 12), FormatTime(adapter.create_time())});
  }
  Print(table.empty() ? "No adapters yet: `tenon jobs finetune --help`." : table.ToString());
  return absl::OkStatus();
}

absl::Status PrintAdapter(Cli& cli, const v1::Adapter& adapter) {
  if (cli.json()) {
    Print(ToJson(adapter));
    return absl::OkStatus();
  }
  Table facts({});
  facts.Add({"adapter", adapter.name()});
  facts.Add({"base", absl::StrCat(adapter.base(), " ", adapter.base_digest())});
  facts.Add({"what", absl::StrCat(Word(adapter.method()), " for ", Word(adapter.task()))});
  facts.Add({"labels", absl::StrJoin(adapter.labels(), ", ")});
  facts.Add({"default", adapter.default_revision()});
  for (const v1::AdapterRevision& revision : adapter.revisions()) {
    if (revision.name() != adapter.default_revision() || !revision.has_text_template()) continue;
    facts.Add({"input", revision.text_template().input()});
    facts.Add({"target", revision.text_template().target()});
  }
  Table revisions({"REVISION", "CREATED", "SIZE", "JOB"});
  for (const v1::AdapterRevision& revision : adapter.revisions()) {
    int64_t bytes = 0;
    for (const v1::FileEntry& file : revision.files()) bytes += file.size_bytes();
    revisions.Add({revision.digest(), FormatTime(revision.create_time()), FormatBytes(bytes),
                   revision.job().empty() ? "imported" : revision.job()});
  }
  Print(facts.ToString() + "\n" + revisions.ToString());
  return absl::OkStatus();
}

absl::Status GetAdapter(Cli& cli, const std::string& name) {
  v1::GetAdapterRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const v1::Adapter adapter,
                   cli.client().Call(cli.client().catalog(), &v1::CatalogService::Stub::GetAdapter, request));
  return PrintAdapter(cli, adapter);
}

absl::Status DeleteAdapter(Cli& cli, const std::string& name) {
  v1::DeleteAdapterRequest request;
  request.set_name(name);
  RETURN_IF_ERROR(
      cli.client().Call(cli.client().catalog(), &v1::CatalogService::Stub::DeleteAdapter, request).status());
  Print(cli.json() ? "{}" : absl::StrCat("Deleted adapter ", ShortName(name), "."));
  return absl::OkStatus();
}

struct AdapterExport {
  std::string name, folder;
  bool merged = false;
};

absl::Status ExportAdapter(Cli& cli, const AdapterExport& asked) {
  ASSIGN_OR_RETURN(const std::vector<std::string> files,
                   client::ExportAdapter(cli.client(), asked.name, asked.folder, asked.merged));
  if (cli.json()) {
    Print(nlohmann::ordered_json{{"folder", asked.folder}, {"files", files}}.dump());
  } else {
    Print(absl::StrCat("Wrote ", absl::StrJoin(files, ", "), " to ", asked.folder, "."));
  }
  return absl::OkStatus();
}

absl::Status ImportAdapter(Cli& cli, const client::AdapterImport& import) {
  client::AdapterImport named = import;
  if (named.adapter_id.empty())
    named.adapter_id = std::filesystem::path(import.folder / "").parent_path().filename().string();
  ASSIGN_OR_RETURN(const v1::Adapter adapter, client::ImportAdapter(cli.client(), named));
  return PrintAdapter(cli, adapter);
}

void AddAdapters(CLI::App& app, Cli& cli) {
  CLI::App* adapters = AddNoun(app, "adapters", "What fine-tuning made, and what was imported");
  AddCommand(*adapters, cli, "list", "All adapters", "tenon adapters list", [&cli] { return ListAdapters(cli); });
  const auto add = [&](const std::string& verb, const std::string& description,
                       absl::Status (*run)(Cli&, const std::string&)) {
    auto name = std::make_shared<std::string>();
    AddCommand(*adapters, cli, verb, description, "tenon adapters " + verb + " tickets",
               [&cli, name, run] { return run(cli, *name); })
        ->add_option("ID", *name, "Id of the adapter")
        ->required();
  };
  add("get", "An adapter and its revisions", &GetAdapter);
  add("delete", "Delete an adapter and all its revisions", &DeleteAdapter);

  auto import = std::make_shared<client::AdapterImport>();
  CLI::App* command =
      AddCommand(*adapters, cli, "import", "Take an adapter that Hugging Face PEFT or AdapterHub wrote",
                 "tenon adapters import ./my-peft-adapter --base minilm --adapter tickets --labels billing,delivery",
                 [&cli, import] { return ImportAdapter(cli, *import); });
  command
      ->add_option("DIR", import->folder,
                   "Folder with adapter_config.json and adapter_model.safetensors, or adapter.safetensors")
      ->required();
  command->add_option("--base", import->base, "Base that it was trained on")->required();
  command->add_option("--adapter,--id", import->adapter_id, "Id of the adapter; the folder's name by default");
  command->add_option("--labels", import->labels, "Labels in index order, for a folder without tenon.json")
      ->delimiter(',');
  command->add_option_function<std::string>(
      "--input-template", [import](const std::string& text) { import->text_template.set_input(text); },
      "Of one that writes texts: what it reads, as 'summarize: {text}'; for a folder without tenon.json");
  command->add_option_function<std::string>(
      "--target-template", [import](const std::string& text) { import->text_template.set_target(text); },
      "What it shall write, as '{summary}': needed to evaluate it on its own template");

  auto exported = std::make_shared<AdapterExport>();
  command = AddCommand(*adapters, cli, "export", "Write an adapter as Hugging Face PEFT, or AdapterHub, reads it",
                       "tenon adapters export tickets ./tickets-peft",
                       [&cli, exported] { return ExportAdapter(cli, *exported); });
  command->add_option("ID", exported->name, "Id of the adapter, or adapters/ID/revisions/DIGEST")->required();
  command->add_option("DIR", exported->folder, "Folder to write: empty, or not there yet")->required();
  command->add_flag("--merged", exported->merged,
                    "Write its base with the adapter merged into the weights, a whole Hugging Face folder; of a lora");
}

absl::Status ListBases(Cli& cli) {
  v1::ListBasesResponse all;
  RETURN_IF_ERROR(client::ForEachPage<v1::ListBasesResponse>(
      [&](const std::string& token) {
        v1::ListBasesRequest request;
        request.set_page_size(1000);
        request.set_page_token(token);
        return cli.client().Call(cli.client().catalog(), &v1::CatalogService::Stub::ListBases, request);
      },
      [&](const v1::ListBasesResponse& page) { all.mutable_bases()->MergeFrom(page.bases()); }));
  if (cli.json()) {
    Print(ToJson(all));
    return absl::OkStatus();
  }
  Print(all.bases().empty() ? "No bases yet: `tenon bases add --help`, `tenon bases pull --help`."
                            : BaseTable({all.bases().begin(), all.bases().end()}));
  return absl::OkStatus();
}

absl::Status AddBase(Cli& cli, const std::string& id, const std::string& folder) {
  UploadProgress progress(folder);
  ASSIGN_OR_RETURN(const v1::Base base, client::AddBase(cli.client(), id, folder, progress.callback()));
  if (cli.json()) {
    Print(ToJson(base));
    return absl::OkStatus();
  }
  Print(BaseTable({base}));
  return absl::OkStatus();
}

absl::Status DeleteBase(Cli& cli, const std::string& name) {
  v1::DeleteBaseRequest request;
  request.set_name(name);
  RETURN_IF_ERROR(cli.client().Call(cli.client().catalog(), &v1::CatalogService::Stub::DeleteBase, request).status());
  Print(cli.json() ? "{}" : absl::StrCat("Deleted base ", ShortName(name), "."));
  return absl::OkStatus();
}

void AddBases(CLI::App& app, Cli& cli) {
  CLI::App* bases = AddNoun(app, "bases", "Frozen base models");
  AddCommand(*bases, cli, "list", "All bases", "tenon bases list", [&cli] { return ListBases(cli); });
  auto add = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App* command = AddCommand(
      *bases, cli, "add", "Add a Hugging Face folder: in place on the server's own machine, else uploaded",
      "tenon bases add minilm ./all-MiniLM-L6-v2", [&cli, add] { return AddBase(cli, add->first, add->second); });
  command->add_option("NAME", add->first, "Id of the base")->required();
  command->add_option("DIR", add->second, "Folder with config.json, model.safetensors and the tokenizer's files")
      ->required();
  AddPull(*bases, cli);
  auto name = std::make_shared<std::string>();
  AddCommand(*bases, cli, "delete", "Delete a base that no adapter and no collection needs",
             "tenon bases delete minilm", [&cli, name] { return DeleteBase(cli, *name); })
      ->add_option("NAME", *name, "Id of the base")
      ->required();
}

}  // namespace

std::string BaseTable(const std::vector<v1::Base>& bases) {
  Table table({"BASE", "MODEL", "FLOATS", "SIZE", "DIGEST", "CREATED"});
  for (const v1::Base& base : bases) {
    table.Add({base.name(), base.model_type(), absl::StrCat(base.hidden_size()), FormatBytes(base.size_bytes()),
               base.digest().substr(0, 12), FormatTime(base.create_time())});
  }
  return table.ToString();
}

void AddCatalog(CLI::App& app, Cli& cli) {
  AddAdapters(app, cli);
  AddBases(app, cli);
}

}  // namespace tenon::cli
