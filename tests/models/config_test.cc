#include "models/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/generation_config.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RetNetConfig Parse(const std::string& text) {
  const auto config = ParseConfig(text, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(RetNetConfig());
}

TEST(Config, DefaultsAreFlas) {
  const RetNetConfig config = Parse("{}");
  EXPECT_EQ(config.vocab_size, 32000);
  EXPECT_EQ(config.hidden_size, 2048);
  EXPECT_EQ(config.layers, 24);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.kv_heads, 8);
  EXPECT_EQ(config.key_dim, 256);
  EXPECT_EQ(config.value_dim, 512);
  EXPECT_EQ(config.intermediate_size, 2816);  // 256 · ceil(int(2048 · 2 · 2 / 3) / 256)
  EXPECT_EQ(config.mlp_activation, Activation::kSilu);
  EXPECT_EQ(config.norm_epsilon, 1e-6f);
  EXPECT_TRUE(config.head_norm_weight);
  EXPECT_TRUE(config.gated);
  EXPECT_FALSE(config.tied);
  EXPECT_EQ(config.embedding_multiplier, 1.0f);
  EXPECT_EQ(config.bos, 1);
  EXPECT_THAT(config.eos, ElementsAre(2));
  ASSERT_EQ(config.theta.size(), 128);
  EXPECT_DOUBLE_EQ(config.theta[1], std::pow(10000.0, -2.0 / 256));
  ASSERT_EQ(config.decay.size(), 8);
  EXPECT_EQ(config.decay[0], 1.0f - 1.0f / 32);
  EXPECT_EQ(config.decay[7], 1.0f - 1.0f / 4096);
}

TEST(Config, ANullRatioIsFour) {
  EXPECT_EQ(Parse(R"({"hidden_ratio": null})").intermediate_size, 5632);
  EXPECT_EQ(Parse(R"({"hidden_ratio": 4})").intermediate_size, 5632);
  EXPECT_EQ(Parse(R"({"hidden_ratio": 4, "intermediate_size": 77})").intermediate_size, 77);
}

TEST(Config, WidthsFollowTheExpansions) {
  const RetNetConfig config = Parse(
      R"({"hidden_size": 60, "num_heads": 5, "num_kv_heads": 1, "expand_k": 0.5, "expand_v": 1.5})");
  EXPECT_EQ(config.key_dim, 6);
  EXPECT_EQ(config.value_dim, 18);
  EXPECT_EQ(config.kv_heads, 1);
}

TEST(Config, ReadsTheKeysOfOurs) {
  const RetNetConfig config = Parse(R"({
      "hidden_size": 8, "num_heads": 2, "mlp_hidden_act": "gelu", "rotary_base": 100,
      "rotary_endpoint": true, "embedding_multiplier": 2.5, "decay": [0.5, 0.75]})");
  EXPECT_EQ(config.mlp_activation, Activation::kGelu);
  EXPECT_THAT(config.theta, ElementsAre(1.0, 0.01));
  EXPECT_EQ(config.embedding_multiplier, 2.5f);
  EXPECT_THAT(config.decay, ElementsAre(0.5f, 0.75f));
}

TEST(Config, DefaultIdsOutsideASmallVocabularyAreNone) {
  EXPECT_EQ(Parse(R"({"vocab_size": 1})").bos, kNoToken);
  EXPECT_THAT(Parse(R"({"vocab_size": 2})").eos, IsEmpty());
  EXPECT_EQ(Parse(R"({"bos_token_id": null})").bos, kNoToken);
  EXPECT_THAT(Parse(R"({"eos_token_id": [3, 5]})").eos, ElementsAre(3, 5));
}

TEST(Config, CountsItsParameters) {
  // embeddings and head 2·6, final norm 2; per layer: norms 4, head norm 4, q k 8, v g o 24,
  // mlp 18.
  const RetNetConfig config = Parse(
      R"({"vocab_size": 6, "hidden_size": 2, "num_heads": 1, "num_hidden_layers": 2,
          "intermediate_size": 3})");
  EXPECT_EQ(config.Parameters(), 24 + 2 + 2 * (4 + 4 + 8 + 24 + 18));
}

struct Refusal {
  std::string text;
  std::string key;
};

class ConfigRefuses : public ::testing::TestWithParam<Refusal> {};

TEST_P(ConfigRefuses, WhatCannotBeRunExactlyNamingTheKey) {
  const auto config = ParseConfig(GetParam().text, "dir/config.json");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << GetParam().text;
  EXPECT_THAT(std::string(config.status().message()),
              AllOf(HasSubstr("dir/config.json"), HasSubstr(GetParam().key)));
}

INSTANTIATE_TEST_SUITE_P(
    Config, ConfigRefuses,
    ::testing::Values(
        Refusal{R"({"feature_map": "relu"})", "feature_map is \"relu\""},
        Refusal{R"({"use_short_conv": true})", "use_short_conv is true"},
        Refusal{R"({"attn": {"layers": [1]}})", "attn is an object"},
        Refusal{R"({"attnres_block_size": 4})", "attnres_block_size is 4"},
        Refusal{R"({"model_type": "llama"})", "model_type is \"llama\"; supported: retnet"},
        Refusal{R"({"hidden_act": "gelu"})", "hidden_act is \"gelu\"; supported: swish or silu"},
        Refusal{R"({"mlp_hidden_act": "relu"})", "mlp_hidden_act"},
        Refusal{R"({"hidden_size": 0})", "hidden_size is 0"},
        Refusal{R"({"hidden_size": 2.5})", "hidden_size is 2.5"},
        Refusal{R"({"hidden_size": 18446744073709551615})", "hidden_size"},
        Refusal{R"({"vocab_size": -1})", "vocab_size is -1"},
        Refusal{R"({"num_hidden_layers": 1000000000000})", "num_hidden_layers"},
        Refusal{R"({"num_heads": 7})", "multiple of num_heads = 7"},
        Refusal{R"({"num_kv_heads": 3})", "num_kv_heads is 3"},
        Refusal{R"({"hidden_size": 24, "num_heads": 8})", "even key width"},
        Refusal{R"({"expand_v": 0})", "expand_v is 0"},
        Refusal{R"({"expand_k": 1e300})", "expand_k"},
        Refusal{R"({"intermediate_size": 0})", "intermediate_size is 0"},
        Refusal{R"({"hidden_ratio": 0})", "hidden_ratio is 0"},
        Refusal{R"({"norm_eps": 0})", "norm_eps is 0"},
        Refusal{R"({"use_output_gate": 1})", "use_output_gate is 1"},
        Refusal{R"({"decay": [0.5]})", "decay is a list"},
        Refusal{R"({"decay": [1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]})", "decay"},
        Refusal{R"({"hidden_size": 16, "rotary_endpoint": true})", "rotary_endpoint"},
        Refusal{R"({"bos_token_id": 32000})", "bos_token_id is 32000"},
        Refusal{R"({"eos_token_id": [2, -5]})", "eos_token_id is a list"},
        Refusal{R"({"vocab_size": 5, "vocab_size": 6})", "\"vocab_size\" appears twice"},
        Refusal{R"([1])", "a list"}, Refusal{R"({"vocab_size": 5)", "not valid JSON"},
        Refusal{"", "not valid JSON"}, Refusal{"{\"a\": \"\xff\"}", "not valid JSON"},
        Refusal{R"({"hidden_size": 1e999})", "not valid JSON"}));

TEST(Config, ADeeplyNestedFileIsRefusedQuietly) {
  const std::string open(1000000, '[');
  const auto config =
      ParseConfig("{\"hidden_size\": " + open + std::string(1000000, ']') + "}", "config.json");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Config, AFolderWithoutOneIsRefusedByName) {
  const auto config = ReadConfig("/nowhere");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("/nowhere/config.json"));
}

TEST(Config, NumbersThatAreNotFiniteMayStandInKeysThatAreNotRead) {
  const auto config = ParseConfig(
      R"({"a": NaN, "b": [Infinity, -Infinity], "c": "say \"NaN\" \\", "hidden_size": 512})",
      "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 512);
  const auto refused = ParseConfig(R"({"norm_eps": NaN})", "config.json");
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("norm_eps is \"NaN\""));
  EXPECT_FALSE(ParseConfig(R"({"a": Nan})", "config.json").ok());
  EXPECT_FALSE(ParseConfig(R"({"a": "unfinished \)", "config.json").ok());
}

TEST(Config, NormalizedRetentionAndAngles) {
  const std::string shape = R"("hidden_size": 16, "num_heads": 2, "expand_v": 1.0)";
  const auto plain = ParseConfig("{" + shape + "}", "config.json");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_FALSE(plain->normalized);
  const auto given = ParseConfig(
      "{" + shape + R"(, "normalized_retention": true, "rotary_theta": [0, 0.5, 1, 0.25]})",
      "config.json");
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_TRUE(given->normalized);
  EXPECT_THAT(given->theta, ElementsAre(0.0, 0.5, 1.0, 0.25));
  for (const char* theta :
       {"[0, 0.5, 1]", "[0, 0.5, 1, -1]", "[0, 0.5, 1, 1e9]", "3", "[0, 0, 0, NaN]"}) {
    const auto refused =
        ParseConfig("{" + shape + R"(, "rotary_theta": )" + theta + "}", "config.json");
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("rotary_theta is")) << theta;
  }
}

TEST(Config, SyncdothsKeysAreRead) {
  const auto config = ParseConfig(
      R"({"model_type": "retnet", "decoder_embed_dim": 64, "decoder_value_embed_dim": 112,
          "decoder_retention_heads": 4, "decoder_ffn_embed_dim": 96, "decoder_layers": 3,
          "vocab_size": 50, "layernorm_eps": 1e-5, "activation_fn": "gelu", "use_lm_decay": true})",
      "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->layout, &kSyncdothLayout);
  EXPECT_EQ(config->hidden_size, 64);
  EXPECT_EQ(config->key_dim, 16);
  EXPECT_EQ(config->value_dim, 28);
  EXPECT_EQ(config->intermediate_size, 96);
  EXPECT_EQ(config->mlp_activation, Activation::kGelu);
  EXPECT_EQ(config->embedding_multiplier, 8.0f);
  EXPECT_TRUE(config->normalized && config->gated && config->embeddings_norm);
  EXPECT_FALSE(config->head_norm_weight || config->tied);
  EXPECT_DOUBLE_EQ(config->theta.back(), 1e-4);
  EXPECT_FLOAT_EQ(config->decay.front(), 1 - 1.0f / 32);
  EXPECT_FLOAT_EQ(config->decay.back(), 1 - 1.0f / 512);
  EXPECT_EQ(config->bos, kNoToken);
  EXPECT_TRUE(config->eos.empty());
}

TEST(Config, SyncdothsVariantsAreRefusedByName) {
  for (const char* variant :
       {R"("deepnorm": true)", R"("use_glu": false)", R"("decoder_normalize_before": false)",
        R"("use_ffn_rms_norm": true)", R"("parallel_residual": true)",
        R"("rotary_percentage": 0.25)", R"("activation_fn": "relu")",
        R"("decoder_retention_heads": 5)", R"("decoder_value_embed_dim": 99)"}) {
    const auto config = ParseConfig(
        std::string(
            R"({"decoder_embed_dim": 64, "decoder_value_embed_dim": 128, "decoder_retention_heads": 4, )") +
            variant + "}",
        "config.json");
    EXPECT_FALSE(config.ok()) << variant;
  }
}

TEST(GenerationConfig, EverythingIsOptional) {
  const std::string directory = MakeTemporaryFolder();
  const auto absent = ReadGenerationConfig(directory);
  ASSERT_TRUE(absent.ok());
  EXPECT_FALSE(absent->temperature.has_value());
  EXPECT_FALSE(absent->eos.has_value());
  WriteFile(directory + "/generation_config.json", R"({
      "temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1,
      "max_new_tokens": 64, "do_sample": true, "bos_token_id": 3, "eos_token_id": [4, 5]})");
  const auto config = ReadGenerationConfig(directory);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->temperature, 0.7f);
  EXPECT_EQ(config->top_k, 40);
  EXPECT_EQ(config->top_p, 0.9f);
  EXPECT_EQ(config->min_p, 0.05f);
  EXPECT_EQ(config->repetition_penalty, 1.1f);
  EXPECT_EQ(config->max_new_tokens, 64);
  EXPECT_EQ(config->bos, 3);
  EXPECT_THAT(config->eos.value(), ElementsAre(4, 5));
}

TEST(GenerationConfig, NotSamplingIsGreedy) {
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/generation_config.json", R"({"do_sample": false, "temperature": 0.7})");
  EXPECT_EQ(ReadGenerationConfig(directory)->temperature, 0.0f);
}

TEST(GenerationConfig, AValueThatMeansNothingIsIgnoredByName) {
  const std::string directory = MakeTemporaryFolder();
  const std::pair<const char*, const char*> cases[] = {
      {"temperature", "-1"},   {"top_p", "1.5"},
      {"top_k", "0.5"},        {"do_sample", "3"},
      {"max_new_tokens", "0"}, {"eos_token_id", R"("x")"},
      {"min_p", "Infinity"},   {"repetition_penalty", "0"},
      {"bos_token_id", "-7"}};
  for (const auto& [key, value] : cases) {
    WriteFile(directory + "/generation_config.json",
              std::string("{\"") + key + "\": " + value + ", \"unread\": -Infinity}");
    const auto config = ReadGenerationConfig(directory);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_THAT(config->ignored,
                ElementsAre(HasSubstr(std::string("generation_config.json: ") + key + " is ")));
    EXPECT_FALSE(config->temperature || config->top_p || config->top_k || config->min_p ||
                 config->repetition_penalty || config->max_new_tokens || config->bos ||
                 config->eos);
  }
}

TEST(GenerationConfig, AFileThatIsNoObjectIsRefused) {
  const std::string directory = MakeTemporaryFolder();
  WriteFile(directory + "/generation_config.json", "[1]");
  EXPECT_EQ(ReadGenerationConfig(directory).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace retnet
