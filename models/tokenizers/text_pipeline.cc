// Normalizer, pre-tokenizer and decoder of a tokenizer.json.
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "models/json_reader.h"
#include "models/tokenizers/characters.h"
#include "models/tokenizers/tokenizer_json.h"

namespace retnet {
namespace {

using nlohmann::json;

absl::Status Unsupported(const std::string& what) {
  return absl::InvalidArgumentError(what + " is not supported");
}

// The steps of a normalizer, a pre-tokenizer or a decoder: none if it is null, else it alone or the
// parts of its sequence, which are not sequences themselves.
absl::StatusOr<std::vector<const json*>> Steps(const json& object, const char* key,
                                               const char* list) {
  const auto found = object.find(key);
  std::vector<const json*> steps;
  if (found == object.end() || found->is_null()) return steps;
  steps.push_back(&*found);
  const auto type_of = [](const json& step) {
    return step.is_object() ? step.value("type", json()) : json();
  };
  if (type_of(*found) == "Sequence") {
    steps.clear();
    const auto parts = found->find(list);
    if (parts == found->end() || !parts->is_array()) {
      return absl::InvalidArgumentError(absl::StrCat(key, " type Sequence has no list ", list));
    }
    for (const json& part : *parts) steps.push_back(&part);
  }
  for (const json* step : steps) {
    if (!type_of(*step).is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(key, " has a step without a type"));
    }
  }
  return steps;
}

std::string TypeOf(const json& step) { return step.at("type").get<std::string>(); }

// One step of a list, in whose errors `where` stands.
class Step {
 public:
  Step(const json& step, const std::string& where)
      : json_(step),
        type_(TypeOf(step)),
        where_(where + " type " + type_.substr(0, 80)),
        reader_(step, where_) {}

  const std::string& type() const { return type_; }
  JsonReader& reader() { return reader_; }
  absl::Status Unsupported(const std::string& what = "") const {
    return retnet::Unsupported(what.empty() ? where_ : absl::StrCat(where_, " ", what));
  }
  // What a pattern says: {"String": "..."} or {"Regex": "..."}.
  std::string Pattern(const char* kind) const {
    const auto pattern = json_.find("pattern");
    if (pattern == json_.end() || !pattern->is_object()) return "";
    const auto text = pattern->find(kind);
    return text == pattern->end() || !text->is_string() ? "" : text->get<std::string>();
  }

 private:
  const json& json_;
  const std::string type_;
  const std::string where_;
  JsonReader reader_;
};

absl::Status ReadNormalizer(const json& object, TextPipeline* pipeline) {
  ASSIGN_OR_RETURN(const std::vector<const json*> steps,
                   Steps(object, "normalizer", "normalizers"));
  for (const json* each : steps) {
    Step step(*each, "normalizer");
    if (step.type() == "NFC") {
      pipeline->nfc = true;
    } else if (step.type() == "Prepend") {
      if (step.reader().String("prepend", "") != kSpaceMarkUtf8) {
        return step.Unsupported("with another text than U+2581");
      }
      pipeline->prefix = TextPipeline::kAlways;
    } else if (step.type() == "Replace") {
      const bool marks =
          step.Pattern("String") == " " && step.reader().String("content", "") == kSpaceMarkUtf8;
      if (!marks) return step.Unsupported("but of a space by U+2581");
      pipeline->marks_spaces = true;
    } else {
      return step.Unsupported();
    }
    RETURN_IF_ERROR(step.reader().status());
  }
  return absl::OkStatus();
}

absl::Status ReadSplit(Step* step, TextPipeline* pipeline) {
  if (step->reader().Bool("invert", false) || step->reader().String("behavior", "") != "Isolated") {
    return step->Unsupported("but with behavior Isolated, not inverted,");
  }
  const std::string expression = step->Pattern("Regex");
  const std::optional<WordPattern> pattern = WordPattern::Find(expression);
  if (!pattern.has_value()) {
    return step->Unsupported(absl::StrCat("with the pattern ", Describe(json(expression))));
  }
  pipeline->pattern = *pattern;
  return step->reader().status();
}

// Spaces of SentencePiece's kind. Older files have add_prefix_space in place of prepend_scheme.
absl::Status ReadMetaspace(Step* step, TextPipeline* pipeline) {
  JsonReader& reader = step->reader();
  if (reader.String("replacement", kSpaceMarkUtf8) != kSpaceMarkUtf8) {
    return step->Unsupported("with another replacement than U+2581");
  }
  const bool adds = reader.Bool("add_prefix_space", true);
  const std::string scheme = reader.String("prepend_scheme", adds ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return step->Unsupported("with prepend_scheme " + Describe(json(scheme)));
  }
  if (pipeline->prefix != TextPipeline::kNoPrefix) {
    return step->Unsupported("behind a normalizer of type Prepend");
  }
  if (scheme == "always") pipeline->prefix = TextPipeline::kUnlessSpace;
  if (scheme == "first") pipeline->prefix = TextPipeline::kFirst;
  pipeline->marks_words = true;
  pipeline->divides_at_marks = reader.Bool("split", true);
  return reader.status();
}

// A last step of byte-level BPE, behind what divides the text already: `is_divided`.
absl::Status ReadByteLevel(Step* step, bool is_first, bool is_divided, TextPipeline* pipeline) {
  const bool adds_space = step->reader().Bool("add_prefix_space", true);
  const bool has_pattern = step->reader().Bool("use_regex", true);
  if (adds_space && !is_first) return step->Unsupported("with add_prefix_space behind another");
  if (has_pattern == is_divided) {
    return step->Unsupported(is_divided ? "with use_regex behind Split"
                                        : "with neither use_regex nor Split");
  }
  if (adds_space) pipeline->prefix = TextPipeline::kUnlessSpace;
  pipeline->byte_level = true;
  return step->reader().status();
}

absl::Status ReadPreTokenizer(const json& object, TextPipeline* pipeline) {
  ASSIGN_OR_RETURN(const std::vector<const json*> steps,
                   Steps(object, "pre_tokenizer", "pretokenizers"));
  WordPattern::Digits digits = WordPattern::kTogether;
  bool has_split = false;
  for (size_t i = 0; i < steps.size(); ++i) {
    Step step(*steps[i], "pre_tokenizer");
    const bool is_last = i + 1 == steps.size();
    if (step.type() == "Metaspace" && steps.size() == 1) {
      RETURN_IF_ERROR(ReadMetaspace(&step, pipeline));
    } else if (step.type() == "Digits" && !is_last && !has_split) {
      const bool individual = step.reader().Bool("individual_digits", false);
      digits = individual ? WordPattern::kIndividual : WordPattern::kApart;
      RETURN_IF_ERROR(step.reader().status());
    } else if (step.type() == "Split" && !is_last && !has_split) {
      RETURN_IF_ERROR(ReadSplit(&step, pipeline));
      has_split = true;
    } else if (step.type() == "ByteLevel" && is_last) {
      RETURN_IF_ERROR(ReadByteLevel(&step, i == 0, has_split, pipeline));
    } else {
      const bool known = step.type() == "Metaspace" || step.type() == "Digits" ||
                         step.type() == "Split" || step.type() == "ByteLevel";
      return known ? step.Unsupported("at this place of the sequence") : step.Unsupported();
    }
  }
  pipeline->pattern.set_digits(digits);
  return absl::OkStatus();
}

absl::Status ReadDecoder(const json& object, TextPipeline* pipeline) {
  ASSIGN_OR_RETURN(const std::vector<const json*> steps, Steps(object, "decoder", "decoders"));
  if (steps.empty()) return Unsupported("decoder null");
  for (const json* each : steps) {
    Step step(*each, "decoder");
    JsonReader& reader = step.reader();
    const bool is_byte_level = step.type() == "ByteLevel";
    if (is_byte_level != pipeline->byte_level) {
      return step.Unsupported(pipeline->byte_level ? "behind pre_tokenizer type ByteLevel"
                                                   : "without pre_tokenizer type ByteLevel");
    }
    if (step.type() == "Strip") {
      const int64_t start = reader.Integer("start", 0, 0, 1);
      if (reader.String("content", "") != " " || reader.Integer("stop", 0, 0, 0) != 0) {
        return step.Unsupported("but of a space at the begin");
      }
      pipeline->drops_leading_space = start == 1;
    } else if (step.type() == "Metaspace") {
      TextPipeline decoder;
      RETURN_IF_ERROR(ReadMetaspace(&step, &decoder));
      pipeline->drops_leading_space = decoder.prefix != TextPipeline::kNoPrefix;
    } else if (step.type() == "Replace") {
      const bool spaces =
          step.Pattern("String") == kSpaceMarkUtf8 && reader.String("content", "") == " ";
      if (!spaces) return step.Unsupported("but of U+2581 by a space");
    } else if (!is_byte_level && step.type() != "ByteFallback" && step.type() != "Fuse") {
      return step.Unsupported();
    }
    RETURN_IF_ERROR(reader.status());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TextPipeline> ReadTextPipeline(const json& object) {
  TextPipeline pipeline;
  RETURN_IF_ERROR(ReadNormalizer(object, &pipeline));
  RETURN_IF_ERROR(ReadPreTokenizer(object, &pipeline));
  if (pipeline.byte_level && (pipeline.marks_spaces || pipeline.prefix == TextPipeline::kAlways)) {
    return Unsupported("pre_tokenizer type ByteLevel behind normalizer type Replace or Prepend");
  }
  const bool marks = pipeline.marks_spaces || pipeline.marks_words;
  if (!pipeline.byte_level && (pipeline.nfc || !marks)) {
    return Unsupported(pipeline.nfc
                           ? "normalizer type NFC without pre_tokenizer type ByteLevel"
                           : "a pre_tokenizer null, without normalizer type Replace of spaces,");
  }
  RETURN_IF_ERROR(ReadDecoder(object, &pipeline));
  return pipeline;
}

}  // namespace retnet
