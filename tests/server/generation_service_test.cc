// What the calls answer.
#include <future>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/utf8.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

TEST(Generate, StreamsTokensOneByOne) {
  FakeServer server(Reciting("abcde"));
  server.control().Hold();
  grpc::ClientContext context;
  const auto reader = server.stub().Generate(&context, GreedyRequest(5));
  v1::GenerateResponse response;
  for (int i = 0; i < 5; ++i) {
    server.control().AwaitHeldStep();
    server.control().Pass();
    // No later token can be there: the model has not computed it.
    ASSERT_TRUE(reader->Read(&response));
    ASSERT_EQ(response.chunk().tokens_size(), 1);
    EXPECT_EQ(response.chunk().text(), std::string(1, "abcde"[i]));
    EXPECT_EQ(response.chunk().tokens(0).text(), response.chunk().text());
    EXPECT_EQ(response.chunk().tokens(0).completion_tokens(), i + 1);
    EXPECT_EQ(response.chunk().completion_tokens(), i + 1);
    EXPECT_EQ(response.chunk().prompt_tokens(), 1);
  }
  ASSERT_TRUE(reader->Read(&response));
  const v1::GenerateResponse::Final& final = response.final();
  ASSERT_EQ(final.finishes_size(), 1);
  EXPECT_EQ(final.finishes(0).reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(final.finishes(0).matched_case(), v1::Finish::MATCHED_NOT_SET);
  EXPECT_EQ(final.usage().prompt_tokens(), 1);
  EXPECT_EQ(final.usage().completion_tokens(), 5);
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

// A call's answer, the timings of its one sample, and how long it took the client.
struct Timed {
  Streamed streamed;
  v1::Timings timings;
  double seconds = 0;
};

Timed GenerateTimed(FakeServer* server, int32_t max_tokens) {
  const absl::Time begin = absl::Now();
  Timed timed;
  timed.streamed = server->Generate(GreedyRequest(max_tokens));
  timed.seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  if (timed.streamed.finals.size() == 1) {
    timed.timings = timed.streamed.finals[0].finishes(0).timings();
  }
  return timed;
}

// Lets this time pass, or more; returns how much at least, in seconds.
double LetPass(absl::Duration time) {
  const absl::Time begin = absl::Now();
  absl::SleepFor(time);
  return absl::ToDoubleSeconds(absl::Now() - begin);
}

// The model stands still in the first step and in the second one, while another call waits for the
// only slot.
TEST(Generate, TimesTheWaitForASlotTheFirstStepAndTheOthers) {
  FakeServerOptions options = Reciting("abcde");
  options.model.slots = 1;
  FakeServer server(options);
  server.control().Hold();
  auto first = std::async(std::launch::async, [&] { return GenerateTimed(&server, 3); });
  server.control().AwaitHeldStep();
  auto second = std::async(std::launch::async, [&] { return GenerateTimed(&server, 3); });
  while (server.engine().stats().waiting < 1) absl::SleepFor(absl::Milliseconds(1));
  const double in_first_step = LetPass(absl::Milliseconds(20));
  server.control().Pass();
  server.control().AwaitHeldStep();
  const double in_second_step = LetPass(absl::Milliseconds(60));
  server.control().Release();

  const Timed ran = first.get();
  const Timed waited = second.get();
  EXPECT_GE(ran.timings.prefill_seconds(), in_first_step);
  EXPECT_GE(ran.timings.decode_seconds(), in_second_step);
  EXPECT_GE(waited.timings.queued_seconds(), in_first_step + in_second_step);
  for (const Timed& timed : {ran, waited}) {
    EXPECT_EQ(timed.streamed.text(), "abc");
    EXPECT_LE(timed.timings.queued_seconds() + timed.timings.prefill_seconds() +
                  timed.timings.decode_seconds(),
              timed.seconds);
    EXPECT_GT(timed.timings.prefill_seconds(), 0);
    EXPECT_GT(timed.timings.decode_seconds(), 0);
  }
}

TEST(Generate, EndsAtEosUnlessItIsIgnored) {
  FakeServer server(Reciting("ab"));
  const Streamed streamed = server.Generate(GreedyRequest(5));
  EXPECT_EQ(streamed.text(), "ab");
  EXPECT_THAT(streamed.ids(),
              ElementsAre(FakeTokenizer::ByteToken('a'), FakeTokenizer::ByteToken('b'), 2));
  ASSERT_THAT(streamed.finals, SizeIs(1));
  EXPECT_EQ(streamed.finals[0].finishes(0).reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(streamed.finals[0].finishes(0).stop_token_id(), 2);

  v1::GenerateRequest request = GreedyRequest(5);
  request.set_ignore_eos(true);
  const Streamed ignoring = server.Generate(request);
  EXPECT_THAT(ignoring.ids(), SizeIs(5));
  EXPECT_EQ(ignoring.finals.at(0).finishes(0).reason(), v1::FINISH_REASON_LENGTH);
}

TEST(Generate, GivesAStopTokenNoTextUnlessItIsIncluded) {
  FakeServer server(Reciting("abc"));
  v1::GenerateRequest request = GreedyRequest(5);
  request.add_stop_token_ids(FakeTokenizer::ByteToken('b'));
  const Streamed streamed = server.Generate(request);
  EXPECT_EQ(streamed.text(), "a");
  EXPECT_THAT(streamed.ids(), SizeIs(2));
  EXPECT_EQ(streamed.finals.at(0).finishes(0).stop_token_id(), FakeTokenizer::ByteToken('b'));
  request.set_include_stop_str_in_output(true);
  EXPECT_EQ(server.Generate(request).text(), "ab");
}

TEST(Generate, EndsAtAStopStringAcrossTokens) {
  FakeServer server(Reciting("one two three"));
  v1::GenerateRequest request = GreedyRequest(20);
  request.add_stop("five");
  request.add_stop("two");
  const Streamed streamed = server.Generate(request);
  EXPECT_EQ(streamed.text(), "one ");
  EXPECT_THAT(streamed.ids(), SizeIs(7));
  ASSERT_THAT(streamed.finals, SizeIs(1));
  EXPECT_EQ(streamed.finals[0].finishes(0).reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(streamed.finals[0].finishes(0).stop_string(), "two");
  request.set_include_stop_str_in_output(true);
  EXPECT_EQ(server.Generate(request).text(), "one two");
}

TEST(Generate, GivesHeldBackTextWhenNothingFollows) {
  FakeServer server(Reciting("one tw"));
  v1::GenerateRequest request = GreedyRequest(6);
  request.add_stop("two");
  const Streamed streamed = server.Generate(request);
  EXPECT_EQ(streamed.text(), "one tw");
  EXPECT_EQ(streamed.finals.at(0).finishes(0).reason(), v1::FINISH_REASON_LENGTH);
}

TEST(Generate, NeverTearsACharacter) {
  const std::string text =
      "a\xF0\x9F\x99\x82"
      "b\xE6\x97\xA5";
  FakeServer server(Reciting(text));
  const Streamed whole = server.Generate(GreedyRequest(20));
  EXPECT_EQ(whole.text(), text);
  for (const v1::TokenChunk& chunk : whole.chunks) {
    EXPECT_EQ(FirstInvalidUtf8(chunk.text()), std::nullopt);
  }
  EXPECT_EQ(server.Generate(GreedyRequest(3)).text(), "a\xEF\xBF\xBD");
}

TEST(Generate, ReportsLogProbabilitiesOfTheModelItself) {
  FakeServerOptions options;
  FakeServer server(options);
  v1::GenerateRequest request = GreedyRequest(8);
  request.set_temperature(1.5);
  request.set_seed(3);
  request.set_logprobs(2);
  const Streamed streamed = server.Generate(request);
  std::vector<TokenId> history = {1};
  ASSERT_GE(streamed.tokens().size(), 1);
  for (const v1::Token& token : streamed.tokens()) {
    SampleRequest query;
    query.scored_token = token.id();
    query.top_logprobs = 2;
    const SampleResult expected = FakeResult(options.model, history, query);
    EXPECT_EQ(token.logprob(), expected.logprob);
    ASSERT_EQ(token.top_logprobs_size(), 2);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(token.top_logprobs(i).id(), expected.top[i].token);
      EXPECT_EQ(token.top_logprobs(i).logprob(), expected.top[i].logprob);
      EXPECT_EQ(token.top_logprobs(i).token(), server.tokenizer().Bytes(expected.top[i].token));
    }
    history.push_back(token.id());
  }
  request.clear_logprobs();
  EXPECT_FALSE(server.Generate(request).tokens().at(0).has_logprob());
}

TEST(Generate, GivesEachSampleWhatItsSeedGivesAlone) {
  FakeServer server;
  v1::GenerateRequest request = GreedyRequest(30);
  request.set_temperature(1);
  request.set_seed(11);
  const Streamed alone = server.Generate(request);
  request.set_n(5);
  const Streamed five = server.Generate(request);
  ASSERT_TRUE(five.status.ok()) << five.status.error_message();
  EXPECT_EQ(five.ids(0), alone.ids(0));
  EXPECT_EQ(five.text(0), alone.text(0));
  EXPECT_NE(five.ids(1), five.ids(0));
  ASSERT_EQ(five.finals.at(0).finishes_size(), 5);
  int32_t completion_tokens = 0;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(five.finals[0].finishes(i).index(), i);
    EXPECT_EQ(five.finals[0].finishes(i).completion_tokens(), five.ids(i).size());
    completion_tokens += five.finals[0].finishes(i).completion_tokens();
  }
  EXPECT_EQ(five.finals[0].usage().completion_tokens(), completion_tokens);
  EXPECT_EQ(five.finals[0].usage().prompt_tokens(), 1);
  EXPECT_EQ(five.finals[0].seed(), 11);
}

TEST(Generate, ReportsTheSeedItDrew) {
  FakeServer server;
  v1::GenerateRequest request = GreedyRequest(20);
  request.set_temperature(1);
  const Streamed first = server.Generate(request);
  request.set_seed(first.finals.at(0).seed());
  EXPECT_EQ(server.Generate(request).ids(), first.ids());
}

TEST(Complete, AnswersWhatGenerateStreams) {
  FakeServer server;
  v1::GenerateRequest request = GreedyRequest(40);
  request.set_temperature(1);
  request.set_seed(5);
  request.set_n(3);
  request.set_logprobs(1);
  const Streamed streamed = server.Generate(request);
  grpc::ClientContext context;
  v1::CompleteResponse response;
  const grpc::Status status = server.stub().Complete(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.choices_size(), 3);
  for (int i = 0; i < 3; ++i) {
    const v1::CompleteResponse::Choice& choice = response.choices(i);
    EXPECT_EQ(choice.text(), streamed.text(i));
    ASSERT_EQ(choice.tokens_size(), streamed.tokens(i).size());
    for (int j = 0; j < choice.tokens_size(); ++j) {
      EXPECT_EQ(choice.tokens(j).SerializeAsString(), streamed.tokens(i)[j].SerializeAsString());
    }
    EXPECT_EQ(choice.finish().reason(), streamed.finals.at(0).finishes(i).reason());
  }
  EXPECT_EQ(response.usage().SerializeAsString(),
            streamed.finals.at(0).usage().SerializeAsString());
  EXPECT_EQ(response.seed(), 5);
}

struct Scored {
  std::vector<v1::ScoredToken> tokens;
  v1::ScoreResponse::Totals totals;
  grpc::Status status;
};

Scored Score(const v1::ScoreRequest& request, FakeServer* server) {
  grpc::ClientContext context;
  const auto reader = server->stub().Score(&context, request);
  Scored scored;
  v1::ScoreResponse response;
  while (reader->Read(&response)) {
    for (const v1::ScoredToken& token : response.chunk().tokens()) scored.tokens.push_back(token);
    if (response.has_totals()) scored.totals = response.totals();
  }
  scored.status = reader->Finish();
  return scored;
}

TEST(Score, GivesEveryTokenItsLogProbabilityAfterTheOnesBefore) {
  FakeServerOptions options;
  FakeServer server(options);
  v1::ScoreRequest request;
  request.set_text("once upon the time, in a land that was not on any map");
  const Scored scored = Score(request, &server);
  ASSERT_TRUE(scored.status.ok()) << scored.status.error_message();
  const std::vector<TokenId> ids = *server.tokenizer().Encode(request.text());
  ASSERT_EQ(scored.tokens.size(), ids.size() + 1);  // BOS
  std::vector<TokenId> history = {1};
  EXPECT_EQ(scored.tokens[0].id(), 1);
  EXPECT_FALSE(scored.tokens[0].has_logprob());
  double total = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    SampleRequest query;
    query.scored_token = ids[i];
    const float expected = FakeResult(options.model, history, query).logprob;
    EXPECT_EQ(scored.tokens[i + 1].id(), ids[i]);
    EXPECT_EQ(scored.tokens[i + 1].token(), server.tokenizer().Bytes(ids[i]));
    EXPECT_EQ(scored.tokens[i + 1].logprob(), expected);
    total += expected;
    history.push_back(ids[i]);
  }
  EXPECT_EQ(scored.totals.tokens(), ids.size() + 1);
  EXPECT_EQ(scored.totals.scored_tokens(), ids.size());
  EXPECT_EQ(scored.totals.scored_bytes(), request.text().size());
  EXPECT_DOUBLE_EQ(scored.totals.total_logprob(), total);
}

TEST(Score, TakesPromptsLongerThanTheContext) {
  FakeServerOptions options;
  options.engine.max_context_length = 8;
  options.model.max_rows = 64;
  FakeServer server(options);
  v1::ScoreRequest request;
  request.mutable_token_ids()->mutable_ids()->Resize(10000, 7);
  const Scored scored = Score(request, &server);
  ASSERT_TRUE(scored.status.ok()) << scored.status.error_message();
  EXPECT_EQ(scored.tokens.size(), 10000);
}

TEST(Score, TakesTextsAbove4Megabytes) {
  FakeServerOptions options;
  options.text.max_uncut_bytes = 8 << 20;  // the fake tokenizer knows no word of this text
  FakeServer server(options);
  constexpr int kTokens = 1100;
  v1::ScoreRequest request;
  request.set_text(std::string(kTokens * 4096, 'x'));
  const Scored scored = Score(request, &server);
  ASSERT_TRUE(scored.status.ok()) << scored.status.error_message();
  EXPECT_EQ(scored.totals.scored_tokens(), kTokens);
  EXPECT_EQ(scored.totals.scored_bytes(), request.text().size());
}

TEST(Tokenize, IsUndoneByDetokenize) {
  FakeServer server;
  v1::TokenizeRequest request;
  request.set_text("once the \xE6\x97\xA5\xE6\x9C\xAC abc");
  grpc::ClientContext context;
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(server.stub().Tokenize(&context, request, &tokens).ok());
  EXPECT_EQ(tokens.token_ids(0), 1);
  v1::DetokenizeRequest back;
  *back.mutable_token_ids() = tokens.token_ids();
  grpc::ClientContext back_context;
  v1::DetokenizeResponse text;
  ASSERT_TRUE(server.stub().Detokenize(&back_context, back, &text).ok());
  EXPECT_EQ(text.text(), request.text());
}

TEST(GetModel, DescribesWhatIsServed) {
  FakeServerOptions options;
  options.model.slots = 3;
  options.engine.max_queue = 17;
  FakeServer server(options);
  grpc::ClientContext context;
  v1::GetModelResponse model;
  ASSERT_TRUE(server.stub().GetModel(&context, v1::GetModelRequest(), &model).ok());
  EXPECT_EQ(model.vocab_size(), options.model.vocab_size);
  EXPECT_EQ(model.max_context_length(), 4096);
  EXPECT_EQ(model.max_sequences(), 3);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  EXPECT_EQ(model.max_sessions(), 3);  // the old name, for clients of release 0.1
#pragma GCC diagnostic pop
  EXPECT_EQ(model.max_queue(), 17);
  EXPECT_EQ(model.bos_token_id(), 1);
  EXPECT_THAT(model.eos_token_ids(), ElementsAre(2));
  EXPECT_TRUE(model.has_tokenizer());
  EXPECT_TRUE(model.adds_bos());
}

}  // namespace
}  // namespace retnet
