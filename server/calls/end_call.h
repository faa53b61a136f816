// Ends a call whose client does not take what has been written, or sends nothing.
#ifndef RETNET_SERVER_CALLS_END_CALL_H_
#define RETNET_SERVER_CALLS_END_CALL_H_

#include <grpcpp/server_context.h>

#include "absl/status/status.h"

namespace retnet {

// Cancels the call and sends the status ahead of what the client has not taken. The reactor's
// operations in flight fail, and OnCancel is called; Finish is still to be called if it has not
// been. Not after OnDone. Thread-safe.
void EndCall(grpc::CallbackServerContext* context, const absl::Status& status);

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_END_CALL_H_
