// The real retnetd as a process, on a small checkpoint with a tokenizer, and its clients.
#ifndef RETNET_TESTS_SERVER_RETNETD_H_
#define RETNET_TESTS_SERVER_RETNETD_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "retnet/v1/generation.grpc.pb.h"
#include "tests/server/process.h"

namespace retnet {

// A folder with a random model of a few layers and a tokenizer of 420 pieces, made once.
const std::string& ModelFolder();

// What a client that has ended leaves.
struct ClientResult {
  int exit_code;
  std::string output;
  std::string error;
};

class Retnetd {
 public:
  // On a free port, with these flags beside. `sequences` is --max-sequences; nullopt: not given.
  // `redirections` are the shell's, such as "2>&-".
  explicit Retnetd(const std::vector<std::string>& flags = {}, std::optional<int> sequences = 8,
                   const std::string& model = ModelFolder(), const std::string& redirections = "");

  Process& process() { return process_; }
  const Process& process() const { return process_; }
  // HOST:PORT, as it printed it.
  const std::string& address() const { return address_; }
  // A connection of its own.
  std::unique_ptr<v1::Generation::Stub> NewStub() const;
  // The client as a process: retnet --target address() ARGUMENTS.
  std::vector<std::string> Client(std::vector<std::string> arguments) const;
  // Runs it to its end.
  ClientResult RunClient(const std::vector<std::string>& arguments,
                         const std::string& input = "") const;
  // "SERVING", "NOT_SERVING" or the error; of the server or of one service.
  std::string Health(const std::string& service = "") const;

 private:
  Process process_;
  std::string address_;
};

// A text that the model goes on for so many tokens.
v1::GenerateRequest Prompt(const std::string& text, int32_t max_tokens);

struct Generated {
  std::vector<int32_t> ids;
  std::string text;
  int chunks = 0;
  grpc::Status status;
};
Generated Generate(const v1::GenerateRequest& request, v1::Generation::Stub* stub);
// Of an error, which fails the test, a response of no choices.
v1::CompleteResponse Complete(const v1::GenerateRequest& request, v1::Generation::Stub* stub);
// The tokens of the prompt, scored; an error fails the test.
std::vector<v1::ScoredToken> Score(const v1::ScoreRequest& request, v1::Generation::Stub* stub);

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_RETNETD_H_
