// Turns a client's request into the engine's request: fills in defaults and plans its prompt.
#ifndef RETNET_SERVER_WIRE_REQUEST_TRANSLATION_H_
#define RETNET_SERVER_WIRE_REQUEST_TRANSLATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request.h"
#include "models/tokenizer.h"
#include "retnet/v1/generation.pb.h"
#include "server/text/detokenizer.h"
#include "server/wire/prompt_translation.h"
#include "server/wire/served_model.h"

namespace retnet {

struct GenerationPlan : PromptPlan {
  int32_t samples = 1;
  TextStops text_stops;
};

// INVALID_ARGUMENT for a value outside a bound of the .proto that the engine does not check.
// FAILED_PRECONDITION for text if the model has no tokenizer.
absl::StatusOr<GenerationPlan> PlanGenerate(const v1::GenerateRequest& wire,
                                            const ServedModel& model);
inline absl::StatusOr<GenerationPlan> TranslateGenerate(const v1::GenerateRequest& wire,
                                                        const ServedModel& model) {
  return CompletePrompt(PlanGenerate(wire, model), model);
}
// The same for a `go` of Converse, which has neither prompt nor session: these fields must not be
// set.
absl::StatusOr<GenerationPlan> TranslateAnswer(const v1::GenerateRequest& wire,
                                               const ServedModel& model);
// Takes the values out of model->defaults that a request may not have. Returns what was wrong with
// each.
std::vector<std::string> DropInvalidDefaults(ServedModel* model);

// One request for each sample. Sample 0 has the plan's seed. Equal seeds give equal samples.
std::vector<Request> SampleRequests(const GenerationPlan& plan, const Tokenizer* tokenizer);

}  // namespace retnet

#endif  // RETNET_SERVER_WIRE_REQUEST_TRANSLATION_H_
