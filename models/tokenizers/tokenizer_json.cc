#include "models/tokenizers/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "models/json_reader.h"
#include "models/tokenizers/characters.h"

namespace retnet {
namespace {

using nlohmann::json;

// Longer added tokens are refused, so that looking for them takes a bounded time.
constexpr size_t kMostAddedBytes = 1024;

using Ids = absl::flat_hash_map<std::string, TokenId>;

absl::Status Malformed(const std::string& what) { return absl::InvalidArgumentError(what); }

// The value of an object's key, or null.
const json& At(const json& object, const char* key) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

// A file of few tokens may not make a list of many.
absl::Status SetPiece(const std::string& piece, const json& id, size_t tokens,
                      std::vector<std::string>* pieces) {
  const size_t most = 2 * tokens + 65536;
  if (!id.is_number_integer() || id < 0 || id >= most) {
    return Malformed(absl::StrCat("token ", Describe(json(piece)), " has the id ", Describe(id),
                                  "; it must be an integer from 0 to ", most - 1));
  }
  const auto index = id.get<size_t>();
  if (index >= pieces->size()) pieces->resize(index + 1);
  std::string& place = (*pieces)[index];
  if (!place.empty() && place != piece) {
    return Malformed(absl::StrCat("tokens ", Describe(json(place)), " and ", Describe(json(piece)),
                                  " both have the id ", index));
  }
  place = piece;
  return absl::OkStatus();
}

Ids IdsOf(const std::vector<std::string>& pieces) {
  Ids ids;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (!pieces[id].empty()) ids.emplace(pieces[id], static_cast<TokenId>(id));
  }
  return ids;
}

absl::Status CheckAdded(const AddedToken& token, const json& id) {
  if (token.content.empty() || token.content.size() > kMostAddedBytes) {
    return Malformed(absl::StrCat("an added token, of id ", Describe(id), ", has ",
                                  token.content.size(), " bytes; it must have 1 to ",
                                  kMostAddedBytes));
  }
  return absl::OkStatus();
}

// "a b", or ["a", "b"].
absl::StatusOr<std::array<std::string, 2>> Halves(const json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::array{merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return std::array{text.substr(0, space), text.substr(space + 1)};
    }
  }
  return Malformed(
      absl::StrCat("model.merges has ", Describe(merge),
                   "; each must be two tokens with a space between, or a list of two"));
}

absl::Status ReadMerges(const json& model, const Ids& ids, std::vector<BpeMerge>* merges) {
  const json& list = At(model, "merges");
  if (!list.is_array()) return Malformed("model.merges is not a list");
  for (const json& merge : list) {
    if (merge.is_string() && absl::StartsWith(merge.get_ref<const std::string&>(), "#version")) {
      continue;
    }
    ASSIGN_OR_RETURN(const auto halves, Halves(merge));
    const auto left = ids.find(halves[0]);
    const auto right = ids.find(halves[1]);
    const auto result = ids.find(halves[0] + halves[1]);
    if (left == ids.end() || right == ids.end() || result == ids.end()) {
      return Malformed(absl::StrCat("model.merges has ", Describe(json(halves[0])), " and ",
                                    Describe(json(halves[1])),
                                    ", which with their joint text are not in model.vocab"));
    }
    merges->push_back({.left = left->second, .right = right->second, .result = result->second});
  }
  return absl::OkStatus();
}

// The tokens of bytes, in each family's spelling.
std::vector<TokenId> ByteTokens(const Ids& ids, bool byte_level) {
  std::vector<TokenId> tokens(256, kNoToken);
  if (!byte_level) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto found = ids.find(absl::StrFormat("<0x%02X>", byte));
      if (found != ids.end()) tokens[byte] = found->second;
    }
    return tokens;
  }
  for (const auto& [piece, id] : ids) {
    const std::optional<std::string> bytes = BytesOfPiece(piece);
    if (bytes.has_value() && bytes->size() == 1) {
      tokens[static_cast<unsigned char>(bytes->front())] = id;
    }
  }
  return tokens;
}

absl::Status ReadModel(const json& model, const std::vector<std::string>& pieces, bool byte_level,
                       BpeVocabulary* vocabulary) {
  const std::string where = "model";
  JsonReader reader(model, where);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!reader.String(key, "").empty()) reader.Refuse(key, "none");
  }
  if (reader.Number("dropout", 0, 0, 1) > 0) reader.Refuse("dropout", "none");
  vocabulary->byte_fallback = reader.Bool("byte_fallback", false);
  vocabulary->fuses_unknown = reader.Bool("fuse_unk", false);
  vocabulary->ignores_merges = reader.Bool("ignore_merges", false);
  const std::string unknown = reader.String("unk_token", "");
  RETURN_IF_ERROR(reader.status());
  const Ids ids = IdsOf(pieces);
  vocabulary->symbols_are_bytes = byte_level;
  vocabulary->bytes = ByteTokens(ids, byte_level);
  if (const auto found = ids.find(unknown); found != ids.end()) {
    vocabulary->unknown = found->second;
  } else if (!unknown.empty() && !vocabulary->HasAllBytes()) {
    reader.Refuse("unk_token", "a token of model.vocab");
    return reader.status();
  }
  vocabulary->pieces = pieces;
  for (std::string& piece : vocabulary->pieces) {
    if (byte_level) piece = BytesOfPiece(piece).value_or("");
  }
  return ReadMerges(model, ids, &vocabulary->merges);
}

// The token that a TemplateProcessing, alone or in a sequence, puts before a text.
absl::StatusOr<TokenId> ReadTemplateBos(const json& processor, const Ids& ids) {
  std::vector<const json*> steps = {&processor};
  const json& list = At(processor, "processors");
  if (At(processor, "type") == "Sequence" && list.is_array()) {
    steps.clear();
    for (const json& step : list) steps.push_back(&step);
  }
  for (const json* step : steps) {
    const json& single = At(*step, "single");
    if (At(*step, "type") != "TemplateProcessing" || !single.is_array() || single.empty()) continue;
    const json& name = At(At(single.front(), "SpecialToken"), "id");
    if (!name.is_string()) continue;
    const auto found = ids.find(name.get<std::string>());
    if (found != ids.end()) return found->second;
    return Malformed(absl::StrCat("post_processor type TemplateProcessing has ", Describe(name),
                                  ", which is no token"));
  }
  return kNoToken;
}

}  // namespace

std::optional<std::string> BytesOfPiece(std::string_view piece) {
  // Bytes that are printable in Latin-1 are themselves; the others follow from U+0100 on.
  static const auto kByte = [] {
    std::array<int, 0x200> bytes;
    bytes.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool is_printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      bytes[is_printable ? byte : next++] = byte;
    }
    return bytes;
  }();
  std::string text;
  for (const char32_t c : Characters(piece)) {
    if (c >= kByte.size() || kByte[c] < 0) return std::nullopt;
    text.push_back(static_cast<char>(kByte[c]));
  }
  return text;
}

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const json& object) {
  std::vector<AddedToken> tokens;
  const json& list = At(object, "added_tokens");
  if (list.is_null()) return tokens;
  if (!list.is_array()) return Malformed("added_tokens is not a list");
  const std::string where = "added_tokens";
  for (const json& each : list) {
    if (!each.is_object()) return Malformed("added_tokens has an entry that is not an object");
    JsonReader reader(each, where);
    AddedToken token;
    token.content = reader.String("content", "");
    token.id =
        static_cast<TokenId>(reader.Integer("id", -1, 0, std::numeric_limits<TokenId>::max()));
    token.special = reader.Bool("special", false);
    token.single_word = reader.Bool("single_word", false);
    token.lstrip = reader.Bool("lstrip", false);
    token.rstrip = reader.Bool("rstrip", false);
    token.normalized = reader.Bool("normalized", !token.special);
    RETURN_IF_ERROR(reader.status());
    RETURN_IF_ERROR(CheckAdded(token, At(each, "id")));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

absl::StatusOr<std::vector<std::string>> ReadPieces(const json& object) {
  const json& vocabulary = At(At(object, "model"), "vocab");
  ASSIGN_OR_RETURN(const std::vector<AddedToken> added, ReadAddedTokens(object));
  const size_t tokens = vocabulary.size() + added.size();
  std::vector<std::string> pieces;
  if (vocabulary.is_object()) {
    for (const auto& [piece, id] : vocabulary.items()) {
      RETURN_IF_ERROR(SetPiece(piece, id, tokens, &pieces));
    }
  } else if (vocabulary.is_array()) {  // pairs of a piece and its score, in the order of ids
    for (const json& pair : vocabulary) {
      const bool is_pair = pair.is_array() && !pair.empty() && pair[0].is_string();
      if (!is_pair) return Malformed("model.vocab has an entry that is not a piece and its score");
      pieces.push_back(pair[0].get<std::string>());
    }
  } else {
    return Malformed("model.vocab is neither an object nor a list");
  }
  const Ids ids = IdsOf(pieces);
  for (const AddedToken& token : added) {
    const auto known = ids.find(token.content);
    if (known != ids.end() && known->second != token.id) {
      return Malformed(absl::StrCat("added token ", Describe(json(token.content)), " has the id ",
                                    token.id, ", and ", known->second, " in model.vocab"));
    }
    RETURN_IF_ERROR(SetPiece(token.content, token.id, tokens, &pieces));
  }
  return pieces;
}

absl::StatusOr<TokenizerJson> ParseTokenizerJson(const json& object) {
  TokenizerJson parsed;
  const json& model = At(object, "model");
  if (!model.is_object()) return Malformed("model is not an object");
  // Old files do not say the type of their model.
  const json& type = At(model, "type");
  if (!type.is_null() && type != "BPE") {
    const std::string name =
        type.is_string() ? type.get<std::string>().substr(0, 80) : Describe(type);
    return Malformed(absl::StrCat("model type ", name, " is not supported"));
  }
  ASSIGN_OR_RETURN(parsed.pieces, ReadPieces(object));
  if (!At(model, "vocab").is_object()) return Malformed("model.vocab is not an object");
  ASSIGN_OR_RETURN(parsed.added, ReadAddedTokens(object));
  ASSIGN_OR_RETURN(parsed.pipeline, ReadTextPipeline(object));
  // What is only added is no symbol of the model.
  std::vector<std::string> pieces(parsed.pieces.size());
  for (const auto& [piece, id] : At(model, "vocab").items()) pieces[id.get<size_t>()] = piece;
  RETURN_IF_ERROR(ReadModel(model, pieces, parsed.pipeline.byte_level, &parsed.vocabulary));
  ASSIGN_OR_RETURN(parsed.template_bos,
                   ReadTemplateBos(At(object, "post_processor"), IdsOf(parsed.pieces)));
  return parsed;
}

}  // namespace retnet
