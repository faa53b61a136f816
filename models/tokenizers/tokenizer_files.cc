// Which file of a checkpoint its tokenizer is made of.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/sampling.h"
#include "kernels/status_macros.h"
#include "models/json_reader.h"
#include "models/tokenizer.h"
#include "models/tokenizers/sentencepiece_model.h"
#include "models/tokenizers/sentencepiece_tokenizer.h"

namespace retnet {
namespace {

struct File {
  std::string path;
  std::string bytes;
};

// The first of the files that exists, or nullopt.
absl::StatusOr<std::optional<File>> ReadFirst(const std::string& directory,
                                              std::initializer_list<const char*> names) {
  for (const char* name : names) {
    File file{.path = absl::StrCat(directory, "/", name), .bytes = ""};
    absl::StatusOr<std::string> bytes = ReadFile(file.path);
    if (absl::IsNotFound(bytes.status())) continue;
    RETURN_IF_ERROR(bytes.status());
    file.bytes = *std::move(bytes);
    return file;
  }
  return std::nullopt;
}

absl::Status Named(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

// add_bos_token of tokenizer_config.json.
absl::StatusOr<std::optional<bool>> ReadAddsBos(const std::string& path) {
  const absl::StatusOr<nlohmann::json> object = ReadJsonObject(path);
  if (absl::IsNotFound(object.status())) return std::nullopt;
  RETURN_IF_ERROR(object.status());
  JsonReader reader(*object, path);
  if (!reader.Has("add_bos_token")) return std::nullopt;
  const bool adds_bos = reader.Bool("add_bos_token", false);
  RETURN_IF_ERROR(reader.status());
  return adds_bos;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::optional<File> file,
                   ReadFirst(directory, {"tokenizer.model", "spiece.model"}));
  if (!file.has_value()) return absl::NotFoundError("no tokenizer.model or spiece.model");
  const absl::StatusOr<SentencePieceModel> model = ParseSentencePieceModel(file->bytes);
  if (!model.ok()) return Named(file->path, model.status());
  const std::string config = directory + "/tokenizer_config.json";
  ASSIGN_OR_RETURN(const std::optional<bool> adds_bos, ReadAddsBos(config));
  auto tokenizer = MakeSentencePieceTokenizer(file->bytes, *model, adds_bos);
  if (!tokenizer.ok()) return Named(file->path, tokenizer.status());
  if ((*tokenizer)->adds_bos() && (*tokenizer)->bos() == kNoToken) {
    return Named(config, absl::InvalidArgumentError(
                             "add_bos_token is true; the tokenizer has no BOS, so it must be false"));
  }
  return tokenizer;
}

}  // namespace retnet
