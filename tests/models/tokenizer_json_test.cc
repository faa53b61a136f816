// Tokenizers of a tokenizer.json: the ids are those of PyPI's library "tokenizers", which made
// tests/testdata/tokenizers/expected.json, and what is not supported is refused by its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/sampling.h"
#include "models/json_reader.h"
#include "models/tokenizer.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kTokenizers = std::string(RETNET_SOURCE_DIR) + "/tests/testdata/tokenizers/";

std::unique_ptr<Tokenizer> Load(const std::string& directory) {
  auto tokenizer = Tokenizer::Load(directory);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

json Described(const std::string& kind) {
  return *ReadJsonObject(kTokenizers + kind + "/tokenizer.json");
}

std::string Written(const json& described) {
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/tokenizer.json", described.dump());
  return directory;
}

class TokenizerJsonOf : public ::testing::TestWithParam<const char*> {};

TEST_P(TokenizerJsonOf, GivesTheIdsOfHuggingFace) {
  const json expected = *ReadJsonObject(kTokenizers + "expected.json");
  const json& kind = expected.at("kinds").at(GetParam());
  const auto tokenizer = Load(kTokenizers + GetParam());
  size_t with_special = 0;
  for (size_t i = 0; i < expected.at("texts").size(); ++i) {
    const std::string text = expected.at("texts").at(i);
    const std::vector<TokenId> ids = kind.at("ids").at(i);
    EXPECT_EQ(*tokenizer->Encode(text), ids) << text;
    const json& parsed = kind.at("parsed").at(i);
    with_special += parsed.is_null() ? 0 : 1;
    EXPECT_EQ(*tokenizer->ParsingSpecialTokens().Encode(text),
              parsed.is_null() ? ids : parsed.get<std::vector<TokenId>>())
        << text;
  }
  EXPECT_GT(with_special, 5);
}

// A word without an end: the time is no more than linear, but for a logarithm.
TEST_P(TokenizerJsonOf, TakesLongRuns) {
  const auto tokenizer = Load(kTokenizers + GetParam());
  for (const char* part : {"a", " ", "ab", "\n", "1", "漢", "<", "\u0301"}) {
    std::string text = "x";
    while (text.size() < 1 << 20) text += part;
    const auto begin = std::chrono::steady_clock::now();
    const auto tokens = tokenizer->Encode(text);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30)) << part;
    EXPECT_EQ(*tokenizer->Decode(*tokens), text) << part;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerJsonOf,
                         ::testing::Values("gpt2", "neox", "llama3", "llama_json", "mistral"));

TEST(TokenizerJson, ABosIsTheTemplatesUnlessTheConfigSaysOtherwise) {
  EXPECT_FALSE(Load(kTokenizers + "gpt2")->adds_bos());
  EXPECT_EQ(Load(kTokenizers + "gpt2")->bos(), kNoToken);
  EXPECT_TRUE(Load(kTokenizers + "llama3")->adds_bos());
  EXPECT_EQ(Load(kTokenizers + "llama3")->bos(), 0);
  EXPECT_TRUE(Load(kTokenizers + "llama_json")->adds_bos());
  EXPECT_EQ(Load(kTokenizers + "llama_json")->bos(), 1);
  const std::string directory = MakeTemporaryFolder();
  std::filesystem::copy(kTokenizers + "llama3/tokenizer.json", directory);
  const std::string config = directory + "/tokenizer_config.json";
  WriteFile(config, R"({"add_bos_token": false, "bos_token": "<|eot_id|>"})");
  EXPECT_FALSE(Load(directory)->adds_bos());
  EXPECT_EQ(Load(directory)->bos(), 2);
  WriteFile(config, R"({"bos_token": {"content": "<|end_of_text|>"}})");
  EXPECT_TRUE(Load(directory)->adds_bos());
  EXPECT_EQ(Load(directory)->bos(), 1);
}

TEST(TokenizerJson, AddingABosNeedsOne) {
  const std::string directory = MakeTemporaryFolder();
  std::filesystem::copy(kTokenizers + "gpt2/tokenizer.json", directory);
  WriteFile(directory + "/tokenizer_config.json", R"({"add_bos_token": true})");
  EXPECT_THAT(std::string(Tokenizer::Load(directory).status().message()),
              HasSubstr("add_bos_token"));
}

TEST(TokenizerJson, StandsBackWhereATokenizerModelHasTheSamePieces) {
  const std::string directory = MakeTemporaryFolder();
  const std::string demo = std::string(RETNET_SOURCE_DIR) + "/models/demo/";
  std::filesystem::copy(demo + "tokenizer.model", directory);
  json described = *ReadJsonObject(demo + "tokenizer.json");
  // Only SentencePiece's unknown token has a text.
  const auto is_sentencepiece = [&] {
    WriteFile(directory + "/tokenizer.json", described.dump());
    return Load(directory)->Bytes(0) == " \u2047 ";
  };
  EXPECT_TRUE(is_sentencepiece());
  described["normalizer"] = {{"type", "Lowercase"}};
  EXPECT_TRUE(is_sentencepiece());
  described = *ReadJsonObject(demo + "tokenizer.json");
  described["added_tokens"].push_back({{"id", 4096}, {"content", "<eot>"}});
  EXPECT_FALSE(is_sentencepiece());
  EXPECT_THAT(*Load(directory)->Encode("<eot>"), ElementsAre(4096));
  described["added_tokens"].erase(described["added_tokens"].size() - 1);
  std::swap(described["model"]["vocab"]["e"], described["model"]["vocab"]["t"]);
  EXPECT_FALSE(is_sentencepiece());
  described["normalizer"] = {{"type", "Lowercase"}};
  WriteFile(directory + "/tokenizer.json", described.dump());
  EXPECT_THAT(std::string(Tokenizer::Load(directory).status().message()),
              HasSubstr("tokenizer.json: normalizer type Lowercase is not supported"));
}

TEST(TokenizerJson, TruncationAndPaddingAreIgnored) {
  json described = Described("gpt2");
  const std::string text = "Once upon a time there was a king";
  const auto whole = *Load(kTokenizers + "gpt2")->Encode(text);
  described["truncation"] = {{"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
  described["padding"] = {{"strategy", {{"Fixed", 100}}}, {"pad_id", 0}};
  EXPECT_EQ(*Load(Written(described))->Encode(text), whole);
}

struct Refusal {
  const char* kind;
  const char* patch;  // merged into the file
  const char* message;
};

class RefusedTokenizers : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedTokenizers, AreNamed) {
  json described = Described(GetParam().kind);
  described.merge_patch(json::parse(GetParam().patch));
  const auto tokenizer = Tokenizer::Load(Written(described));
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()),
              HasSubstr(std::string("tokenizer.json: ") + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, RefusedTokenizers,
    ::testing::Values(
        Refusal{"gpt2", R"({"normalizer": {"type": "BertNormalizer"}})",
                "normalizer type BertNormalizer is not supported"},
        Refusal{
            "gpt2",
            R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "NFKC"}]}})",
            "normalizer type NFKC is not supported"},
        Refusal{"gpt2", R"({"normalizer": {"type": "Sequence"}})", "normalizer type Sequence has"},
        Refusal{"gpt2", R"({"normalizer": {"type": 5}})", "normalizer has a step without a type"},
        Refusal{"llama_json", R"({"normalizer": {"type": "NFC"}})", "normalizer type NFC without"},
        Refusal{"llama_json", R"({"normalizer": {"type": "Prepend", "prepend": "x"}})",
                "normalizer type Prepend with another text than U+2581 is not supported"},
        Refusal{"llama_json",
                R"({"normalizer": {"type": "Replace", "pattern": {"Regex": " "}, "content": "▁"}})",
                "normalizer type Replace but of a space"},
        Refusal{"llama_json", R"({"normalizer": null})", "a pre_tokenizer null"},
        Refusal{"gpt2", R"({"pre_tokenizer": {"type": "Whitespace"}})",
                "pre_tokenizer type Whitespace is not supported"},
        Refusal{"gpt2", R"({"pre_tokenizer": {"use_regex": false}})",
                "pre_tokenizer type ByteLevel with neither use_regex nor Split"},
        Refusal{"llama3",
                R"({"pre_tokenizer": {"pretokenizers": [{"type": "Split", "behavior": "Isolated",
                    "pattern": {"Regex": "\\w+"}}, {"type": "ByteLevel", "use_regex": false}]}})",
                "pre_tokenizer type Split with the pattern \"\\\\w+\" is not supported"},
        Refusal{"llama3",
                R"({"pre_tokenizer": {"pretokenizers": [{"type": "Split", "behavior": "Removed"},
                    {"type": "ByteLevel", "use_regex": false}]}})",
                "pre_tokenizer type Split but with behavior Isolated"},
        Refusal{"llama3", R"({"pre_tokenizer": {"pretokenizers": [{"type": "ByteLevel"},
                              {"type": "Digits"}]}})",
                "pre_tokenizer type ByteLevel at this place"},
        Refusal{"mistral", R"({"pre_tokenizer": {"prepend_scheme": "last"}})",
                "pre_tokenizer type Metaspace with prepend_scheme \"last\""},
        Refusal{"mistral", R"({"pre_tokenizer": {"split": 7}})",
                "pre_tokenizer type Metaspace: split is 7"},
        Refusal{"gpt2", R"({"decoder": null})", "decoder null is not supported"},
        Refusal{"gpt2", R"({"decoder": {"type": "WordPiece"}})", "decoder type WordPiece"},
        Refusal{"gpt2", R"({"decoder": {"type": "Metaspace"}})",
                "decoder type Metaspace behind pre_tokenizer type ByteLevel is not supported"},
        Refusal{"mistral", R"({"decoder": {"type": "CTC"}})", "decoder type CTC is not supported"},
        Refusal{"gpt2", R"({"model": {"type": "WordPiece"}})",
                "model type WordPiece is not supported"},
        Refusal{"gpt2", R"({"model": {"type": "Unigram", "vocab": [["a", 0.5]]}})",
                "model type Unigram is not supported"},
        Refusal{"gpt2", R"({"model": {"dropout": 0.1}})", "model: dropout is 0.1"},
        Refusal{"gpt2", R"({"model": {"end_of_word_suffix": "</w>"}})",
                "model: end_of_word_suffix is"},
        Refusal{"mistral", R"({"model": {"byte_fallback": false, "unk_token": "<none>"}})",
                "model: unk_token is"},
        Refusal{"gpt2", R"({"model": {"merges": ["a b c"]}})", "model.merges has \"a b c\""},
        Refusal{"gpt2", R"({"model": {"merges": [["a", 5]]}})", "model.merges has a list"},
        Refusal{"gpt2", R"({"model": {"merges": [["qq", "zz"]]}})", "model.merges has \"qq\""},
        Refusal{"gpt2", R"({"model": {"merges": 5}})", "model.merges is not a list"},
        Refusal{"gpt2", R"({"model": {"vocab": null}})", "model.vocab is neither"},
        Refusal{"gpt2", R"({"model": {"vocab": {"zzz": -1}}})", "token \"zzz\" has the id -1"},
        Refusal{"gpt2", R"({"model": {"vocab": {"zzz": 2000000000}}})",
                "token \"zzz\" has the id 2000000000"},
        Refusal{"gpt2", R"({"model": {"vocab": {"zzz": 1}}})",
                "tokens \"!\" and \"zzz\" both have the id 1"},
        Refusal{"gpt2", R"({"model": null})", "model is not an object"},
        Refusal{"gpt2", R"({"added_tokens": 5})", "added_tokens is not a list"},
        Refusal{"gpt2", R"({"added_tokens": [5]})", "added_tokens has an entry"},
        Refusal{"gpt2", R"({"added_tokens": [{"id": 0, "content": ""}]})", "an added token, of id"},
        Refusal{"gpt2", R"({"added_tokens": [{"id": 7, "content": "<|endoftext|>"}]})",
                "added token \"<|endoftext|>\" has the id 7, and 0 in model.vocab"},
        Refusal{"llama3", R"({"post_processor": {"processors": [{"type": "TemplateProcessing",
                              "single": [{"SpecialToken": {"id": "<none>"}}]}]}})",
                "post_processor type TemplateProcessing has \"<none>\""}));

TEST(TokenizerJson, AnAddedTokenThatIsTooLongIsRefused) {
  json described = Described("gpt2");
  for (const size_t bytes : {1024, 1025}) {
    described["added_tokens"] = json::array({{{"id", 4000}, {"content", std::string(bytes, 'x')}}});
    EXPECT_EQ(Tokenizer::Load(Written(described)).ok(), bytes <= 1024);
  }
}

}  // namespace
}  // namespace retnet
