#include "models/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/sampling.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using std::string_literals::operator""s;

std::string Folder(const std::string& name) {
  return std::string(RETNET_SOURCE_DIR) + "/tests/testdata/tokenizers/" + name;
}

std::unique_ptr<Tokenizer> Load(const std::string& directory) {
  auto tokenizer = Tokenizer::Load(directory);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::string Concatenated(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  std::string bytes;
  for (const TokenId token : tokens) bytes += tokenizer.Bytes(token);
  return bytes;
}

TEST(Tokenizer, IdsAreSentencePieces) {
  const auto tokenizer = Load(Folder("plain"));
  EXPECT_EQ(tokenizer->vocab_size(), 420);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_THAT(*tokenizer->Encode("Alice was"), ElementsAre(382, 317, 324));
  EXPECT_THAT(*tokenizer->Encode("🐛é"), ElementsAre(243, 162, 147, 158, 198, 172));
  EXPECT_THAT(*tokenizer->Encode(""), IsEmpty());
  EXPECT_THAT(*Load(Folder("prefixed"))->Encode("Alice was"), ElementsAre(47, 59));
}

TEST(Tokenizer, SpieceModelIsAnotherNameOfTheFile) {
  const std::string directory = MakeTemporaryFolder();
  std::filesystem::copy(Folder("plain") + "/tokenizer.model", directory + "/spiece.model");
  EXPECT_THAT(*Load(directory)->Encode("Alice was"), ElementsAre(382, 317, 324));
  std::filesystem::copy(Folder("prefixed") + "/tokenizer.model", directory);
  EXPECT_THAT(*Load(directory)->Encode("Alice was"), ElementsAre(47, 59));
}

TEST(Tokenizer, EveryTextComesBack) {
  const auto tokenizer = Load(Folder("plain"));
  for (const std::string& text :
       {""s, " "s, "  two  spaces "s, "a\nb\t"s, "🐛 é 漢字 👩‍👩‍👧"s, "a\0b\0"s,
        "<s></s><unk>"s, "\u07ff\uffff\U0010ffff"s}) {
    const auto tokens = tokenizer->Encode(text);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    EXPECT_EQ(*tokenizer->Decode(*tokens), text);
    EXPECT_EQ(Concatenated(*tokenizer, *tokens), text);
  }
}

TEST(Tokenizer, AByteTokenIsItsByte) {
  const auto tokenizer = Load(Folder("plain"));
  const auto tokens = *tokenizer->Encode("🐛");
  ASSERT_EQ(tokens.size(), 4);
  EXPECT_EQ(tokenizer->Bytes(tokens[0]), "\xf0");
  EXPECT_EQ(tokenizer->Bytes(tokens[3]), "\x9b");
  EXPECT_EQ(*tokenizer->Decode(std::span(tokens).first(3)), "\xf0\x9f\x90");
}

TEST(Tokenizer, ThePrefixOfATextIsNotInIt) {
  const auto tokenizer = Load(Folder("prefixed"));
  const auto tokens = *tokenizer->Encode("Alice was");
  EXPECT_EQ(*tokenizer->Decode(tokens), "Alice was");
  EXPECT_EQ(Concatenated(*tokenizer, tokens), " Alice was");  // as they follow others
}

TEST(Tokenizer, ControlTokensGiveNothing) {
  const auto tokenizer = Load(Folder("plain"));
  EXPECT_EQ(tokenizer->Bytes(1), "");
  EXPECT_EQ(*tokenizer->Decode(std::vector<TokenId>{1, 382, 2}), "A");
  EXPECT_EQ(tokenizer->Bytes(0), " \u2047 ");  // an unknown token shows
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreRefused) {
  const auto tokenizer = Load(Folder("plain"));
  for (const TokenId token : {-1, 420, 1 << 30}) {
    EXPECT_EQ(tokenizer->Bytes(token), "");
    const auto text = tokenizer->Decode({&token, 1});
    EXPECT_EQ(text.status().code(), absl::StatusCode::kOutOfRange);
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("420"));
  }
}

TEST(Tokenizer, TextThatIsNotUtf8IsRefusedNamingTheByte) {
  const auto tokenizer = Load(Folder("plain"));
  for (const std::string& bad : {"\xff"s, "\x80"s, "\xc0\x80"s, "\xc3"s, "\xc3("s, "\xe0\x80\x80"s,
                                 "\xed\xa0\x80"s, "\xe2\x82"s, "\xf0\x80\x80\x80"s,
                                 "\xf4\x90\x80\x80"s, "\xf0\x9f\x90"s, "\xf5\x80\x80\x80"s}) {
    const auto tokens = tokenizer->Encode("abé" + bad);
    EXPECT_EQ(tokens.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tokens.status().message()), HasSubstr("byte 4"));
  }
}

TEST(Tokenizer, AddingABosIsTheConfigsChoice) {
  EXPECT_TRUE(Load(Folder("plain"))->adds_bos());
  EXPECT_FALSE(Load(Folder("prefixed"))->adds_bos());
  const std::string directory = MakeTemporaryFolder();
  std::filesystem::copy(Folder("plain") + "/tokenizer.model", directory);
  const std::string config = directory + "/tokenizer_config.json";
  WriteFile(config, R"({"add_bos_token": false})");
  EXPECT_FALSE(Load(directory)->adds_bos());
  WriteFile(config, R"({"add_bos_token": true})");
  EXPECT_TRUE(Load(directory)->adds_bos());
  WriteFile(config, R"({"add_bos_token": "yes"})");
  EXPECT_EQ(Tokenizer::Load(directory).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Tokenizer, AddingABosNeedsOne) {
  const std::string directory = MakeTemporaryFolder();
  std::filesystem::copy(Folder("prefixed") + "/tokenizer.model", directory);
  WriteFile(directory + "/tokenizer_config.json", R"({"add_bos_token": true})");
  const auto tokenizer = Tokenizer::Load(directory);
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("add_bos_token"));
}

TEST(Tokenizer, WhatIsNoModelIsRefused) {
  const std::string directory = MakeTemporaryFolder();
  EXPECT_EQ(Tokenizer::Load(directory).status().code(), absl::StatusCode::kNotFound);
  for (const char* bytes : {"", "no model", "\x0a\xff\xff\xff\xff"}) {
    WriteFile(directory + "/tokenizer.model", bytes);
    const auto tokenizer = Tokenizer::Load(directory);
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("tokenizer.model"));
  }
}

}  // namespace
}  // namespace retnet
