// A server of each kind of tokenizer, as a process: what clients see of texts is the same for all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/models/random_checkpoint.h"
#include "tests/models/random_text.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Kind {
  const char* name;
  const char* special;  // the name of a special token
  int32_t id;           // and its id
  const char* vocab_size = "4100";
};

std::string FolderOf(const char* name, const std::string& vocab_size) {
  CheckpointShape shape;
  shape.config = R"({"model_type": "retnet", "vocab_size": )" + vocab_size + R"(, "hidden_size": 64,
    "num_hidden_layers": 2, "num_heads": 2, "intermediate_size": 96, "eos_token_id": 2})";
  const std::string folder = WriteRandomCheckpoint(shape);
  const std::filesystem::path from =
      std::string(RETNET_SOURCE_DIR) + "/tests/testdata/tokenizers/" + name;
  std::filesystem::copy(from, folder, std::filesystem::copy_options::recursive);
  return folder;
}

class TokenizerKinds : public ::testing::TestWithParam<Kind> {
 protected:
  TokenizerKinds()
      : server_({}, 8, FolderOf(GetParam().name, GetParam().vocab_size)),
        stub_(server_.NewStub()) {}

  std::vector<int32_t> Tokenize(const std::string& text, bool parse_special = false) {
    grpc::ClientContext context;
    v1::TokenizeRequest request;
    request.set_text(text);
    request.set_add_bos(false);
    if (parse_special) request.set_parse_special_tokens(true);
    v1::TokenizeResponse response;
    const grpc::Status status = stub_->Tokenize(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return {response.token_ids().begin(), response.token_ids().end()};
  }
  std::string Detokenize(const std::vector<int32_t>& ids) {
    grpc::ClientContext context;
    v1::DetokenizeRequest request;
    request.mutable_token_ids()->Add(ids.begin(), ids.end());
    v1::DetokenizeResponse response;
    EXPECT_TRUE(stub_->Detokenize(&context, request, &response).ok());
    return response.text();
  }
  // The request's special tokens are parsed.
  v1::GenerateRequest Special(const std::string& text) const {
    v1::GenerateRequest request = Prompt(text, /*max_tokens=*/20);
    request.set_add_bos(false);
    request.set_temperature(0);
    request.set_parse_special_tokens(true);
    return request;
  }

  Retnetd server_;
  std::unique_ptr<v1::Generation::Stub> stub_;
};

TEST_P(TokenizerKinds, TextsComeBack) {
  for (const std::string text : {"Once upon a time, there was a king.", "It's 1234, isn't it?",
                                 "é 漢字 🙂\n\n  and\tmore ", "x"}) {
    EXPECT_EQ(Detokenize(Tokenize(text)), text);
  }
}

TEST_P(TokenizerKinds, SpecialTokensAreTextUnlessTheRequestSaysOtherwise) {
  const auto& [name, special, id, vocab_size] = GetParam();
  EXPECT_GT(Tokenize(special).size(), 1);
  EXPECT_EQ(Detokenize(Tokenize(special)), special);
  EXPECT_THAT(Tokenize(special, /*parse_special=*/true), ElementsAre(id));
  EXPECT_EQ(Detokenize({id}), "");
  // Each method that takes a text.
  v1::GenerateRequest by_id = Special("");
  by_id.clear_text();
  by_id.mutable_token_ids()->add_ids(id);
  by_id.clear_parse_special_tokens();
  const Generated of_id = Generate(by_id, stub_.get());
  EXPECT_EQ(Generate(Special(special), stub_.get()).ids, of_id.ids);
  EXPECT_EQ(Complete(Special(special), stub_.get()).usage().prompt_tokens(), 1);
  v1::ScoreRequest score;
  score.set_text(special);
  score.set_add_bos(false);
  EXPECT_GT(Score(score, stub_.get()).size(), 1);
  score.set_parse_special_tokens(true);
  EXPECT_EQ(Score(score, stub_.get()).size(), 1);
  // The client has a flag.
  const ClientResult told =
      server_.RunClient({"tokenize", special, "--no-add-bos", "--parse-special-tokens"});
  EXPECT_THAT(told.output, HasSubstr(std::to_string(id))) << told.error;
}

// A stop string ends the text wherever the borders of tokens are.
TEST_P(TokenizerKinds, StopStringsEndTheText) {
  v1::GenerateRequest request = Prompt("Once upon a time", /*max_tokens=*/60);
  request.set_seed(7);
  request.set_ignore_eos(true);
  const Generated whole = Generate(request, stub_.get());
  EXPECT_EQ(whole.ids.size(), 60);
  EXPECT_EQ(whole.text, Complete(request, stub_.get()).choices(0).text());
  for (const size_t from : {3, 10, 25}) {
    size_t begin = from;
    while ((whole.text[begin] & 0xC0) == 0x80) ++begin;
    size_t end = begin + 4;
    while ((whole.text[end] & 0xC0) == 0x80) ++end;
    const std::string stop = whole.text.substr(begin, end - begin);
    if (stop.find("\uFFFD") != std::string::npos) continue;
    request.clear_stop();
    request.add_stop(stop);
    const Generated stopped = Generate(request, stub_.get());
    EXPECT_EQ(stopped.text, whole.text.substr(0, whole.text.find(stop))) << stop;
  }
}

// Bits per byte are of the text that the client sent.
TEST_P(TokenizerKinds, ScoresAreOfAllBytesOfTheText) {
  const std::string text = "Once upon a time there was a king, é 漢字 🙂";
  grpc::ClientContext context;
  v1::ScoreRequest request;
  request.set_text(text);
  request.set_add_bos(false);
  const auto reader = stub_->Score(&context, request);
  v1::ScoreResponse response;
  std::string first;
  int64_t scored = -1;
  while (reader->Read(&response)) {
    if (response.has_totals()) scored = response.totals().scored_bytes();
    if (response.has_chunk() && first.empty()) first = response.chunk().tokens(0).token();
  }
  EXPECT_TRUE(reader->Finish().ok());
  // The space that is put before a text is not in it.
  if (!text.starts_with(first)) first.erase(0, 1);
  EXPECT_EQ(scored + static_cast<int64_t>(first.size()), static_cast<int64_t>(text.size()));
}

// What is typed in pieces is what is typed at once, special tokens included.
TEST_P(TokenizerKinds, ConversationsTakeTextInPieces) {
  const std::string special = GetParam().special;
  const std::string text =
      "Once upon a time there was a king's son, é 漢字. " + special + " He said: 12345" + special;
  for (const bool parse_special : {false, true}) {
    v1::GenerateRequest whole = Special(text);
    whole.set_parse_special_tokens(parse_special);
    const v1::CompleteResponse answer = Complete(whole, stub_.get());
    EXPECT_EQ(answer.usage().prompt_tokens(), Tokenize(text, parse_special).size());
    Random random(parse_special ? 1 : 2);
    grpc::ClientContext context;
    const auto stream = stub_->Converse(&context);
    v1::ConverseRequest message;
    message.mutable_begin()->set_add_bos(false);
    message.mutable_begin()->set_parse_special_tokens(parse_special);
    stream->Write(message);
    for (size_t at = 0; at < text.size();) {
      size_t end = std::min(text.size(), at + 1 + Below(9, &random));
      while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
      message.set_text(text.substr(at, end - at));
      stream->Write(message);
      at = end;
    }
    message.mutable_go()->set_max_tokens(20);
    message.mutable_go()->set_temperature(0);
    stream->Write(message);
    stream->WritesDone();
    v1::ConverseResponse response;
    std::vector<int32_t> said;
    while (stream->Read(&response)) {
      for (const v1::Token& token : response.chunk().tokens()) said.push_back(token.id());
    }
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<int32_t> expected;
    for (const v1::Token& token : answer.choices(0).tokens()) expected.push_back(token.id());
    EXPECT_EQ(said, expected);
  }
}

TEST_P(TokenizerKinds, AnAnswerTakesNoSpecialTokens) {
  grpc::ClientContext context;
  const auto stream = stub_->Converse(&context);
  v1::ConverseRequest message;
  message.set_text("Once ");
  stream->Write(message);
  message.mutable_go()->set_parse_special_tokens(true);
  stream->Write(message);
  stream->WritesDone();
  v1::ConverseResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_THAT(stream->Finish().error_message(), StartsWith("go.parse_special_tokens is set"));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, TokenizerKinds,
    ::testing::Values(Kind{"plain", "<s>", 1, "420"}, Kind{"llama", "<s>", 1, "400"},
                      Kind{"gpt2", "<|endoftext|>", 0}, Kind{"neox", "<|padding|>", 1},
                      Kind{"llama3", "<|eot_id|>", 2}, Kind{"llama_json", "<s>", 1},
                      Kind{"mistral", "</s>", 2}),
    [](const auto& info) { return info.param.name; });

TEST(TokenizerFiles, AnUnsupportedOneIsNamedAtTheStart) {
  const std::string folder = FolderOf("gpt2", "4100");
  std::filesystem::remove(folder + "/tokenizer.json");
  {
    Retnetd server({}, 8, folder);
    EXPECT_THAT(server.process().error(),
                HasSubstr("no tokenizer.model, spiece.model or tokenizer.json: token ids are "
                          "served, text is not"));
  }
  std::ofstream(folder + "/tokenizer.json") << R"({"model": {"type": "WordPiece"}})";
  Process process({RETNETD_PATH, "--model", folder, "--listen", "127.0.0.1:0"});
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.error(), HasSubstr("tokenizer.json: model type WordPiece is not supported"));
}

}  // namespace
}  // namespace retnet
