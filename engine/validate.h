// The rules of Request, checked before it is accepted.
#ifndef RETNET_ENGINE_VALIDATE_H_
#define RETNET_ENGINE_VALIDATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/request.h"

namespace retnet {

// INVALID_ARGUMENT names the first field that breaks a rule, its value and the bound. Any bits may
// be in `request`.
absl::Status ValidateRequest(const Request& request, int32_t vocab_size, int32_t context_length);

}  // namespace retnet

#endif  // RETNET_ENGINE_VALIDATE_H_
