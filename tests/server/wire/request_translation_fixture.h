// A model with a tokenizer, for tests of how requests are translated.
#ifndef RETNET_TESTS_SERVER_WIRE_REQUEST_TRANSLATION_FIXTURE_H_
#define RETNET_TESTS_SERVER_WIRE_REQUEST_TRANSLATION_FIXTURE_H_

#include "engine/validate.h"
#include "gtest/gtest.h"
#include "server/wire/request_translation.h"
#include "tests/server/fake_tokenizer.h"

namespace retnet {

class RequestTranslation : public ::testing::Test {
 protected:
  RequestTranslation() : tokenizer_(FakeTokenizer::WithBytes()) {
    model_.info.vocab_size = tokenizer_.vocab_size();
    model_.info.bos = 1;
    model_.info.eos = {2};
    model_.max_context_length = 100;
    model_.tokenizer = &tokenizer_;
  }

  static v1::GenerateRequest Ids() {
    v1::GenerateRequest request;
    request.mutable_token_ids()->add_ids(5);
    return request;
  }
  // Translation and the engine's own rules: what Submit would say.
  absl::Status Check(const v1::GenerateRequest& wire) const {
    const absl::StatusOr<GenerationPlan> plan = TranslateGenerate(wire, model_);
    if (!plan.ok()) return plan.status();
    return ValidateRequest(plan->request, model_.info.vocab_size, model_.max_context_length);
  }

  FakeTokenizer tokenizer_;
  ServedModel model_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_WIRE_REQUEST_TRANSLATION_FIXTURE_H_
