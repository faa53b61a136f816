#include "server/wire/prompt_translation.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "models/utf8.h"
#include "server/wire/session_translation.h"

namespace retnet {
namespace {

constexpr int kMaxCacheBoundaries = 16;

template <typename Wire>
std::optional<bool> AddBosOf(const Wire& wire) {
  return wire.has_add_bos() ? std::optional(wire.add_bos()) : std::nullopt;
}

// The model has a tokenizer.
template <typename Wire>
const Tokenizer* TokenizerFor(const Wire& wire, const ServedModel& model) {
  return wire.parse_special_tokens() ? &model.tokenizer->ParsingSpecialTokens() : model.tokenizer;
}

absl::Status CheckHasPrompt(bool has_text) {
  return absl::InvalidArgumentError(
      has_text ? "text is empty; it must have at least 1 byte (to begin with nothing, send the BOS "
                 "as token_ids)"
               : "the request has no prompt; set text or token_ids");
}

// A text of so many bytes cannot fit, whatever its tokens are.
absl::Status CheckFits(size_t bytes, int32_t context_length, const Tokenizer& tokenizer) {
  const size_t most = static_cast<size_t>(context_length) * tokenizer.max_token_bytes();
  if (most == 0 || bytes <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("text has ", bytes, " bytes; ", context_length,
                                                 " tokens, the context length, have at most ", most,
                                                 ": split it"));
}

// Completes the head of a request on a session, whose text, if any, is tokenized.
void SetHead(TextHead head, bool adds, const ServedModel& model, PromptPlan* plan) {
  plan->request.head =
      MakeHead(model.tokenizer, std::move(head), plan->request.kind, adds, plan->begun);
}

// Reads the prompt of a Generate or Score request. A request on a session may have none.
// `max_tokens` as in PromptPlace.
template <typename Wire>
absl::Status ReadPrompt(const Wire& wire, const ServedModel& model, int32_t max_tokens,
                        std::string_view advice, PromptPlan* plan) {
  const bool on_session = !wire.session_id().empty();
  if (on_session) RETURN_IF_ERROR(CheckSessionId("session_id", wire.session_id()));
  if (wire.has_token_ids()) {
    const auto& ids = wire.token_ids().ids();
    if (ids.empty() && !on_session) {
      return absl::InvalidArgumentError("token_ids is empty; it must have at least 1 token");
    }
    plan->request.prompt.assign(ids.begin(), ids.end());
    if (on_session) SetHead(TextHead(model.tokenizer), /*adds=*/!ids.empty(), model, plan);
    return absl::OkStatus();
  }
  const std::string& text = wire.text();
  if (text.empty() && !on_session) return CheckHasPrompt(wire.has_text());
  if (model.tokenizer == nullptr) return text.empty() ? absl::OkStatus() : NeedsTokenizer("text");
  RETURN_IF_ERROR(CheckTextBytes("text", static_cast<int64_t>(text.size()), model.text, advice));
  const Tokenizer* const tokenizer = TokenizerFor(wire, model);
  if (max_tokens > 0) RETURN_IF_ERROR(CheckFits(text.size(), max_tokens, *tokenizer));
  ASSIGN_OR_RETURN(const TokenId bos, BosBefore(AddBosOf(wire), model));
  const TextBos before{.token = bos, .only_if_first = on_session && !wire.has_add_bos()};
  plan->text = std::make_shared<PromptText>(
      tokenizer, text,
      PromptPlace{.on_session = on_session, .bos = before, .max_tokens = max_tokens}, model.text);
  return absl::OkStatus();
}

// The marks of a text become lengths of the prompt once that is tokenized.
absl::Status ReadMarks(const v1::GenerateRequest& wire, PromptPlan* plan) {
  RETURN_IF_ERROR(
      CheckCount("cache_boundaries", wire.cache_boundaries_size(), kMaxCacheBoundaries));
  const std::string& text = wire.text();
  const size_t length = wire.has_text() ? text.size() : plan->request.prompt.size();
  std::vector<size_t> in_text;
  int32_t last = 0;
  for (int i = 0; i < wire.cache_boundaries_size(); ++i) {
    const std::string field = absl::StrCat("cache_boundaries[", i, "]");
    const int32_t mark = wire.cache_boundaries(i);
    RETURN_IF_ERROR(CheckRange(field, mark, last + 1, static_cast<int64_t>(length)));
    last = mark;
    if (!wire.has_text()) {
      plan->request.cache_boundaries.push_back(mark);
      continue;
    }
    if (!IncompleteCharacter(std::string_view(text).substr(0, mark)).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, " is ", mark, ", which is within a character of text"));
    }
    in_text.push_back(static_cast<size_t>(mark));
  }
  if (plan->text != nullptr) plan->text->set_marks(std::move(in_text));
  return absl::OkStatus();
}

absl::Status CheckDetokenized(const v1::DetokenizeRequest& wire, int64_t bytes,
                              const ServedModel& model) {
  constexpr int64_t kFieldBytes = 5;  // its number and its length
  const int64_t most =
      std::min<int64_t>(model.text.max_text_bytes, int64_t{kMaxAnswerBytes} - kFieldBytes);
  if (bytes <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("token_ids has ", wire.token_ids_size(),
                                                 " tokens, and a text of ", bytes,
                                                 " bytes; it may have ", most, ": split it"));
}

}  // namespace

absl::Status CheckRange(std::string_view field, int64_t value, int64_t least, int64_t greatest) {
  if (value >= least && value <= greatest) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(absl::string_view(field.data(), field.size()),
                                                 " is ", value, "; it must be from ", least, " to ",
                                                 greatest));
}

absl::Status CheckCount(std::string_view field, size_t count, size_t most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(absl::string_view(field.data(), field.size()),
                                                 " has ", count, " entries; at most ", most,
                                                 " are allowed"));
}

absl::Status NeedsTokenizer(std::string_view field) {
  return absl::FailedPreconditionError(
      absl::StrCat(absl::string_view(field.data(), field.size()),
                   " needs a tokenizer and the model has none; it serves token ids only"));
}

absl::StatusOr<TokenId> BosBefore(std::optional<bool> add_bos, const ServedModel& model) {
  if (!add_bos.value_or(model.tokenizer->adds_bos())) return kNoToken;
  const TokenId bos = model.tokenizer->bos() != kNoToken ? model.tokenizer->bos() : model.info.bos;
  if (bos == kNoToken) {
    return absl::InvalidArgumentError("add_bos is true; the model has no BOS, so it must be false");
  }
  return bos;
}

absl::Status PlanPrompt(const v1::GenerateRequest& wire, const ServedModel& model,
                        PromptPlan* plan) {
  RETURN_IF_ERROR(ReadPrompt(wire, model, model.max_context_length,
                             "add the parts to a session one by one", plan));
  return ReadMarks(wire, plan);
}

absl::StatusOr<ScorePlan> PlanScore(const v1::ScoreRequest& wire, const ServedModel& model) {
  ScorePlan plan;
  plan.request.kind = RequestKind::kScore;
  plan.request.priority = wire.priority();
  plan.request.session.id = wire.session_id();
  plan.request.wait_for_session = wire.when_busy() == v1::WHEN_BUSY_WAIT;
  plan.needs.look = !wire.session_id().empty();
  ASSIGN_OR_RETURN(plan.request.session_tokens, SeenTokens(wire));
  if (wire.text().empty() && wire.token_ids().ids().empty() && !wire.session_id().empty()) {
    return absl::InvalidArgumentError("the request has no prompt; set text or token_ids");
  }
  RETURN_IF_ERROR(ReadPrompt(wire, model, /*max_tokens=*/0,
                             "add its first part to a session and score the next one on that",
                             &plan));
  // Normalising may change the bytes. The score is for the text as the client sent it.
  plan.text_bytes = static_cast<int64_t>(wire.text().size());
  if (model.tokenizer == nullptr) return plan;
  for (const TokenId token : plan.request.prompt) {
    plan.text_bytes += static_cast<int64_t>(model.tokenizer->Bytes(token).size());
  }
  return plan;
}

absl::StatusOr<PromptPlan> PlanTokenize(const v1::TokenizeRequest& wire, const ServedModel& model) {
  if (model.tokenizer == nullptr) return NeedsTokenizer("text");
  RETURN_IF_ERROR(
      CheckTextBytes("text", static_cast<int64_t>(wire.text().size()), model.text, "split it"));
  ASSIGN_OR_RETURN(const TokenId bos, BosBefore(AddBosOf(wire), model));
  PromptPlan plan;
  plan.text = std::make_shared<PromptText>(TokenizerFor(wire, model), wire.text(),
                                           PromptPlace{.bos = {.token = bos}}, model.text);
  return plan;
}

absl::StatusOr<bool> ContinuePrompt(PromptPlan* plan, const ServedModel& model) {
  if (plan->text == nullptr) return true;
  ASSIGN_OR_RETURN(const bool complete, plan->text->Step(&plan->request));
  if (!complete) return false;
  if (plan->text->on_session()) {
    SetHead(plan->text->head(), plan->text->adds(), model, plan);
  }
  plan->text = nullptr;
  return true;
}

absl::StatusOr<bool> ContinuePrompt(ScorePlan* plan, const ServedModel& model) {
  const bool has_text = plan->text != nullptr;
  ASSIGN_OR_RETURN(const bool complete, ContinuePrompt(static_cast<PromptPlan*>(plan), model));
  if (!complete) return false;
  std::vector<TokenId> first;
  if (plan->request.head) first = plan->request.head(TokenHistory()).prompt;
  if (first.empty()) first = plan->request.prompt;
  if (first.empty()) {
    return absl::InvalidArgumentError("text has no tokens; it must have at least 1");
  }
  plan->first_token = first[0];
  if (model.tokenizer == nullptr) return true;
  // The space that is put before a text is not in it.
  ASSIGN_OR_RETURN(const std::string text, model.tokenizer->Decode({first.data(), 1}));
  plan->first_bytes = static_cast<int64_t>(
      has_text ? text.size() : model.tokenizer->Bytes(plan->first_token).size());
  return true;
}

absl::Status FillTokens(const std::vector<TokenId>& tokens, v1::TokenizeResponse* response) {
  response->mutable_token_ids()->Add(tokens.begin(), tokens.end());
  const size_t bytes = response->ByteSizeLong();
  if (bytes <= kMaxAnswerBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("text has ", tokens.size(), " tokens, and an answer of ", bytes,
                   " bytes; it may have ", kMaxAnswerBytes, ": split the text"));
}

absl::StatusOr<std::string> TranslateDetokenize(const v1::DetokenizeRequest& wire,
                                                const ServedModel& model) {
  if (model.tokenizer == nullptr) return NeedsTokenizer("Detokenize");
  const int32_t size = model.tokenizer->vocab_size();
  int64_t bytes = 0;
  for (int i = 0; i < wire.token_ids_size(); ++i) {
    const TokenId token = wire.token_ids(i);
    if (token < 0 || token >= size) {
      return CheckRange(absl::StrCat("token_ids[", i, "]"), token, 0, size - 1);
    }
    bytes += static_cast<int64_t>(model.tokenizer->Bytes(token).size());
  }
  RETURN_IF_ERROR(CheckDetokenized(wire, bytes, model));
  ASSIGN_OR_RETURN(const std::string decoded,
                   model.tokenizer->Decode(
                       {wire.token_ids().data(), static_cast<size_t>(wire.token_ids_size())}));
  std::string text;
  Utf8Assembler characters;
  characters.Push(decoded, &text);
  characters.Flush(&text);
  // A byte that is not UTF-8 became three.
  RETURN_IF_ERROR(CheckDetokenized(wire, static_cast<int64_t>(text.size()), model));
  return text;
}

}  // namespace retnet
