#include "tests/engine/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace retnet {
namespace {

int32_t Between(int32_t least, int32_t greatest, std::mt19937& random) {
  return std::uniform_int_distribution<int32_t>(least, greatest)(random);
}

bool OneIn(int32_t n, std::mt19937& random) { return Between(1, n, random) == 1; }

template <typename Tokens>
bool Contains(const Tokens& tokens, TokenId token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

SampleResult AnswerAfter(const FakeModelOptions& options, const TokenHistory& history,
                         const SampleRequest& query) {
  return FakeResult(options, history.tokens(), query,
                    [&](int32_t position) { return history.ClassAt(position); });
}

Expected ExpectedScore(const FakeModelOptions& options, const Request& request,
                       TokenHistory history) {
  Expected expected;
  for (const TokenId token : request.prompt) {
    SampleRequest query;
    query.scored_token = token;
    query.top_logprobs = request.top_logprobs;
    if (!history.empty()) expected.results.push_back(AnswerAfter(options, history, query));
    history.Append(token, RowClass::kPrompt);
  }
  return expected;
}

void RandomSampling(const FakeModelOptions& options, SamplingParams& sampling,
                    std::mt19937& random) {
  sampling.temperature = OneIn(3, random) ? 0.0f : 0.25f * Between(1, 8, random);
  sampling.top_k = Between(0, 5, random);
  sampling.top_p = 0.25f * Between(0, 4, random);
  sampling.min_p = 0.25f * Between(0, 4, random);
  sampling.seed = random();
  if (OneIn(3, random)) sampling.repetition_penalty = 0.5f * Between(1, 5, random);
  if (OneIn(3, random)) sampling.frequency_penalty = 0.25f * Between(-8, 8, random);
  if (OneIn(3, random)) sampling.presence_penalty = 0.25f * Between(-8, 8, random);
  for (TokenId token = 0; token < options.vocab_size && OneIn(3, random); token += 3) {
    sampling.logit_bias.emplace_back(token, 0.5f * Between(-9, 9, random));
  }
}

}  // namespace

std::vector<LogitEdit> ExpectedEdits(const Request& request, std::span<const TokenId> output) {
  const SamplingParams& sampling = request.sampling;
  std::vector<LogitEdit> edits;
  for (TokenId token = 0; token < 1000; ++token) {
    LogitEdit edit{.token = token};
    const auto times = std::count(output.begin(), output.end(), token);
    if (times > 0 || Contains(request.prompt, token)) {
      edit.repetition = sampling.repetition_penalty;
    }
    for (const auto& [biased, bias] : sampling.logit_bias) {
      if (biased == token) edit.add = bias;
    }
    edit.add -= sampling.frequency_penalty * static_cast<float>(times);
    if (times > 0) edit.add -= sampling.presence_penalty;
    if (output.size() < request.min_tokens && Contains(request.stop_token_ids, token)) {
      edit.add = -std::numeric_limits<float>::infinity();
    }
    if (edit.repetition != 1.0f || edit.add != 0.0f) edits.push_back(edit);
  }
  return edits;
}

Expected ExpectedOf(const FakeModelOptions& options, const Request& request, int32_t context_length,
                    const TokenHistory& session) {
  if (request.kind == RequestKind::kScore) return ExpectedScore(options, request, session);
  Expected expected;
  if (request.kind == RequestKind::kPrefill) return expected;
  TokenHistory history = session;
  history.Append(request.prompt, RowClass::kPrompt);
  Request whole = request;  // penalties count the session's tokens as the prompt's
  whole.prompt.assign(history.tokens().begin(), history.tokens().end());
  StopChecker stop = request.stop;  // a copy has a state of its own
  while (true) {
    const auto edits = ExpectedEdits(whole, history.tokens().subspan(whole.prompt.size()));
    SampleRequest query;
    query.sampling.temperature = request.sampling.temperature;
    query.sampling.top_k = request.sampling.top_k;
    query.sampling.top_p = request.sampling.top_p;
    query.sampling.min_p = request.sampling.min_p;
    query.sampling.seed = request.sampling.seed;
    query.sampling.draw = history.size();
    query.sampling.edits = edits;
    query.logprob = request.logprobs;
    query.top_logprobs = request.top_logprobs;
    expected.results.push_back(AnswerAfter(options, history, query));
    const TokenId token = expected.results.back().token;
    history.Append(token, RowClass::kSampled);
    if (Contains(request.stop_token_ids, token)) {
      expected.stop_token = token;
      return expected;
    }
    if (stop && stop(token).stops) return expected;
    if (expected.results.size() == request.max_tokens || history.size() == context_length) {
      expected.reason = FinishReason::kLength;
      return expected;
    }
  }
}

Request RandomRequest(const FakeModelOptions& options, int32_t context_length,
                      std::mt19937& random) {
  const auto token = [&] { return Between(0, options.vocab_size - 1, random); };
  Request request;
  request.kind = OneIn(4, random) ? RequestKind::kScore : RequestKind::kGenerate;
  const bool score = request.kind == RequestKind::kScore;
  const int32_t longest = OneIn(4, random) ? context_length : 6;
  request.prompt.resize(Between(1, score ? 2 * longest : longest - 1, random));
  std::generate(request.prompt.begin(), request.prompt.end(), token);
  if (OneIn(4, random)) request.top_logprobs = Between(1, kMaxTopLogprobs, random);
  request.priority = OneIn(3, random) ? Between(-2, 2, random) : 0;
  const int32_t principal = Between(0, 2, random);
  request.tenant = {.principal = std::string(1, static_cast<char>('a' + principal)),
                    .connection = OneIn(2, random) ? "1" : "2",
                    .weight = 0.5 + principal};
  if (score) return request;
  RandomSampling(options, request.sampling, random);
  request.max_tokens = Between(1, 30, random);
  if (OneIn(2, random)) request.min_tokens = Between(0, request.max_tokens, random);
  for (int32_t i = Between(0, 6, random); i > 0; --i) request.stop_token_ids.push_back(token());
  if (OneIn(4, random)) {
    request.stop = [sum = 0](TokenId next) mutable { return (sum += next) % 13 == 0; };
  }
  request.logprobs = OneIn(2, random);
  return request;
}

bool SameResults(std::span<const SampleResult> actual, std::span<const SampleResult> expected) {
  return std::equal(
      actual.begin(), actual.end(), expected.begin(), expected.end(),
      [](const SampleResult& a, const SampleResult& b) {
        return a.token == b.token && a.top == b.top &&
               (a.logprob == b.logprob || (std::isnan(a.logprob) && std::isnan(b.logprob)));
      });
}

}  // namespace retnet
