// What the real server takes for 200 large requests of a kind at once: no more than the budgets of
// docs/limits.md and docs/sessions.md allow. Their messages come to 200 MiB.
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "retnet/v1/generation.grpc.pb.h"
#include "tests/sanitized.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

constexpr int kCalls = 200;
constexpr int64_t kMiB = 1 << 20;
// The messages of all requests in progress, and their tokens: docs/sessions.md, "Bounds of texts".
// It takes up to twice that, because buffers grow by doubling.
constexpr int64_t kInProgress = 256 * kMiB;
// --max-unread-bytes.
constexpr int64_t kUnread = 16 * kMiB;

int64_t ResidentBytes(pid_t pid) {
  int64_t pages = 0;
  std::ifstream(absl::StrCat("/proc/", pid, "/statm")) >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

std::string Words(size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += "word of ";
  text.resize(bytes);
  return text;
}

// Token ids that take `bytes` on the wire.
void FillIds(int64_t bytes, google::protobuf::RepeatedField<int32_t>* ids) {
  ids->Resize(static_cast<int>(bytes), 7);
}

struct LargeRequest {
  std::string name;    // of the test
  std::string method;  // of the service Generation
  std::string message;
  bool goes_on = false;  // the client may send more
};

void PrintTo(const LargeRequest& request, std::ostream* out) { *out << request.name; }

std::vector<LargeRequest> LargeRequests() {
  const std::string text = Words(kMiB);
  std::vector<LargeRequest> requests;
  const auto add = [&requests](const std::string& name, const std::string& method,
                               const google::protobuf::Message& message, bool goes_on = false) {
    requests.push_back({name, method, message.SerializeAsString(), goes_on});
  };
  v1::GenerateRequest generate;
  generate.set_text(text);
  generate.set_max_tokens(4);
  add("CompleteText", "Complete", generate);
  add("GenerateText", "Generate", generate);
  FillIds(kMiB, generate.mutable_token_ids()->mutable_ids());
  add("CompleteIds", "Complete", generate);
  v1::ScoreRequest score;
  score.set_text(text);
  add("ScoreText", "Score", score);
  FillIds(kMiB, score.mutable_token_ids()->mutable_ids());
  add("ScoreIds", "Score", score);
  v1::ConverseRequest typed;
  typed.set_text(text);
  add("Converse", "Converse", typed, /*goes_on=*/true);
  typed.set_text("word " + std::string(kMiB - 100, 'a'));  // held back
  add("ConverseHeldBack", "Converse", typed, /*goes_on=*/true);
  v1::TokenizeRequest tokenize;
  tokenize.set_text(text);
  add("Tokenize", "Tokenize", tokenize);
  v1::DetokenizeRequest detokenize;
  FillIds(kMiB, detokenize.mutable_token_ids());
  add("Detokenize", "Detokenize", detokenize);
  return requests;
}

// Calls with one message, the same memory for all of them, whose answers are not read.
class Calls {
 public:
  Calls(const std::string& address, const LargeRequest& request)
      : stub_(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                        OwnConnection())),
        goes_on_(request.goes_on) {
    const grpc::Slice slice(request.message.data(), request.message.size(),
                            grpc::Slice::STATIC_SLICE);
    message_ = grpc::ByteBuffer(&slice, 1);
    for (int i = 0; i < kCalls; ++i) {
      Call& call = *calls_.emplace_back(std::make_unique<Call>());
      call.stream =
          stub_.PrepareCall(&call.context, "/retnet.v1.Generation/" + request.method, &queue_);
      call.stream->StartCall(&call);
    }
  }
  ~Calls() {
    for (const auto& call : calls_) call->context.TryCancel();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) continue;
  }

  // Sends what there is to send, for so long; calls `tick` now and then.
  void Run(std::chrono::milliseconds time, const std::function<void()>& tick) {
    const auto end = std::chrono::system_clock::now() + time;
    while (std::chrono::system_clock::now() < end) {
      void* tag;
      bool ok;
      const auto soon = std::chrono::system_clock::now() + std::chrono::milliseconds(10);
      if (queue_.AsyncNext(&tag, &ok, soon) == grpc::CompletionQueue::GOT_EVENT) {
        Call& call = *static_cast<Call*>(tag);
        if (!std::exchange(call.sent, true) && ok) {
          goes_on_ ? call.stream->Write(message_, &call)
                   : call.stream->WriteLast(message_, grpc::WriteOptions(), &call);
        }
      }
      tick();
    }
  }

 private:
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
    bool sent = false;
  };
  static grpc::ChannelArguments OwnConnection() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return arguments;
  }

  grpc::GenericStub stub_;
  const bool goes_on_;
  grpc::CompletionQueue queue_;
  grpc::ByteBuffer message_;
  std::vector<std::unique_ptr<Call>> calls_;
};

class TwoHundredLargeRequests : public testing::TestWithParam<LargeRequest> {};

TEST_P(TwoHundredLargeRequests, TakeNoMoreThanTheBudgets) {
  Retnetd server({"--max-unread-bytes", absl::StrCat(kUnread), "--host-state-bytes", "0",
                  "--preempted-state-bytes", "0"});
  const auto stub = server.NewStub();
  Complete(Prompt("Alice", 3), stub.get());
  const int64_t before = ResidentBytes(server.process().pid());
  int64_t most = before;
  {
    Calls calls(server.address(), GetParam());
    calls.Run(std::chrono::seconds(4),
              [&] { most = std::max(most, ResidentBytes(server.process().pid())); });
    Complete(Prompt("Alice", 3), stub.get());
  }
  // A sanitizer takes memory of its own.
  if (!kSanitized) {
    EXPECT_LT(most - before, 2 * kInProgress + kUnread + 100 * kMiB);
  }
  EXPECT_EQ(Complete(Prompt("Alice", 3), stub.get()).choices_size(), 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TwoHundredLargeRequests, testing::ValuesIn(LargeRequests()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace retnet
