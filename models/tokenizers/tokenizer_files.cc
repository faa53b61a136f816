// Which file of a checkpoint its tokenizer is made of.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/sampling.h"
#include "kernels/status_macros.h"
#include "models/json_reader.h"
#include "models/tokenizer.h"
#include "models/tokenizers/bpe_tokenizer.h"
#include "models/tokenizers/sentencepiece_model.h"
#include "models/tokenizers/sentencepiece_tokenizer.h"
#include "models/tokenizers/tokenizer_json.h"

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

// add_bos_token and bos_token of tokenizer_config.json. A token is its text, or an object with it.
absl::StatusOr<BosConfig> ReadBosConfig(const std::string& path) {
  BosConfig config;
  const absl::StatusOr<nlohmann::json> object = ReadJsonObject(path);
  if (absl::IsNotFound(object.status())) return config;
  RETURN_IF_ERROR(object.status());
  JsonReader reader(*object, path);
  if (reader.Has("add_bos_token")) config.adds_bos = reader.Bool("add_bos_token", false);
  RETURN_IF_ERROR(reader.status());
  const auto token = object->find("bos_token");
  if (token == object->end()) return config;
  const nlohmann::json text = token->is_object() ? token->value("content", *token) : *token;
  if (text.is_string()) config.bos_token = text.get<std::string>();
  return config;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(const File& file,
                                                         const SentencePieceModel& model,
                                                         const BosConfig& config) {
  auto tokenizer = MakeSentencePieceTokenizer(file.bytes, model, config.adds_bos);
  if (!tokenizer.ok()) return Named(file.path, tokenizer.status());
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(const std::string& path,
                                                         const nlohmann::json& object,
                                                         const BosConfig& config) {
  absl::StatusOr<TokenizerJson> parsed = ParseTokenizerJson(object);
  if (!parsed.ok()) return Named(path, parsed.status());
  return MakeBpeTokenizer(*std::move(parsed), config);
}

// Whether both give each id the same piece.
absl::StatusOr<bool> AreEqual(const SentencePieceModel& model, const std::string& path,
                              const nlohmann::json& object) {
  const absl::StatusOr<std::vector<std::string>> pieces = ReadPieces(object);
  if (!pieces.ok()) return Named(path, pieces.status());
  return std::equal(model.pieces.begin(), model.pieces.end(), pieces->begin(), pieces->end(),
                    [](const auto& a, const std::string& b) { return a.text == b; });
}

// Of what is in the folder.
absl::StatusOr<std::unique_ptr<Tokenizer>> Choose(const std::optional<File>& file,
                                                  const std::optional<File>& json,
                                                  const BosConfig& config) {
  SentencePieceModel model;
  if (file.has_value()) {
    absl::StatusOr<SentencePieceModel> parsed = ParseSentencePieceModel(file->bytes);
    if (!parsed.ok()) return Named(file->path, parsed.status());
    model = *std::move(parsed);
  }
  if (!json.has_value()) return MakeTokenizer(*file, model, config);
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseJsonObject(json->bytes, json->path));
  if (!file.has_value()) return MakeTokenizer(json->path, object, config);
  ASSIGN_OR_RETURN(const bool are_equal, AreEqual(model, json->path, object));
  return are_equal ? MakeTokenizer(*file, model, config)
                   : MakeTokenizer(json->path, object, config);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::optional<File> file,
                   ReadFirst(directory, {"tokenizer.model", "spiece.model"}));
  ASSIGN_OR_RETURN(const std::optional<File> json, ReadFirst(directory, {"tokenizer.json"}));
  if (!file.has_value() && !json.has_value()) {
    return absl::NotFoundError("no tokenizer.model, spiece.model or tokenizer.json");
  }
  const std::string config_path = directory + "/tokenizer_config.json";
  ASSIGN_OR_RETURN(const BosConfig config, ReadBosConfig(config_path));
  ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Choose(file, json, config));
  if (tokenizer->adds_bos() && tokenizer->bos() == kNoToken) {
    return Named(config_path,
                 absl::InvalidArgumentError(
                     "add_bos_token is true; the tokenizer has no BOS, so it must be false"));
  }
  return tokenizer;
}

}  // namespace retnet
