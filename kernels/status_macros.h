// Return early from a function when an absl::Status is not OK.
#ifndef RETNET_KERNELS_STATUS_MACROS_H_
#define RETNET_KERNELS_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)                                       \
  do {                                                                    \
    if (absl::Status retnet_status = (expression); !retnet_status.ok()) { \
      return retnet_status;                                               \
    }                                                                     \
  } while (false)

#define RETNET_CONCAT_INNER(a, b) a##b
#define RETNET_CONCAT(a, b) RETNET_CONCAT_INNER(a, b)

// For example ASSIGN_OR_RETURN(auto config, ReadConfig(path));
#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_INNER(RETNET_CONCAT(retnet_status_or_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_INNER(status_or, declaration, expression) \
  auto status_or = (expression);                                   \
  if (!status_or.ok()) return std::move(status_or).status();       \
  declaration = *std::move(status_or)

#endif  // RETNET_KERNELS_STATUS_MACROS_H_
