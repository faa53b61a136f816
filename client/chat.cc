// A conversation at the terminal: every turn is a Generate on one session, which can be forked,
// taken back, saved and loaded in between.
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "client/commands.h"
#include "client/snapshot_file.h"
#include "kernels/mutex.h"
#include "retnet/v1/generation.grpc.pb.h"
#include "retnet/v1/sessions.grpc.pb.h"

namespace retnet {
namespace {

constexpr char kHelp[] =
    "Each line is added to the session, and the model continues it. An empty line lets it go on.\n"
    "  /fork [ID]      continue in a copy; the session stays as it is\n"
    "  /rewind [N]     take back the last N turns; 1 without N\n"
    "  /save FILE      write the session to a file\n"
    "  /load FILE      continue in a new session made from a file\n"
    "  /reset          remove all text from the session\n"
    "  /session        show the id of the session and its length\n"
    "  /help           show this\n"
    "  /quit           end the chat, as the end of input does\n"
    "Type // for a line that begins with /. Ctrl-C ends an answer.\n";

// When a chat that was killed leaves its session behind.
constexpr double kLostSessionSeconds = 24 * 60 * 60;

class Chat {
 public:
  Chat(const ChatOptions& options, Client* client)
      : options_(options),
        client_(client),
        generation_(v1::Generation::NewStub(client->channel())),
        sessions_(v1::Sessions::NewStub(client->channel())),
        terminal_(isatty(STDIN_FILENO) != 0) {
    client_->InterceptInterrupts([this] { return EndAnswer(); });
    // At the prompt nothing waits for a cancelled call.
    client_->OnInterrupt([] { kill(getpid(), SIGINT); });
  }
  ~Chat() {
    client_->InterceptInterrupts(nullptr);
    client_->OnInterrupt(nullptr);
  }

  ExitCode Run();

 private:
  // A call that Ctrl-C cancels while it runs.
  grpc::Status Call(const std::function<grpc::Status(grpc::ClientContext*)>& call);
  bool EndAnswer();

  grpc::Status Open();
  void Close();
  grpc::Status Turn(const std::string& line);
  grpc::Status Answer(const std::string& text, grpc::ClientContext* context);
  grpc::Status Command(const std::string& name, const std::string& argument);
  grpc::Status Fork(const std::string& id);
  grpc::Status RewindTurns(const std::string& count);
  grpc::Status RewindTo(int32_t tokens);
  grpc::Status Load(const std::string& file);
  grpc::Status AwaitEndOfAnswer();
  grpc::Status Describe();
  void Enter(const v1::Session& session, bool made);

  const ChatOptions& options_;
  Client* const client_;
  const std::unique_ptr<v1::Generation::Stub> generation_;
  const std::unique_ptr<v1::Sessions::Stub> sessions_;
  const bool terminal_;

  std::string id_;
  std::vector<int32_t> turns_;     // the history's length before each turn of this session
  int32_t tokens_ = 0;             // its length now
  std::vector<std::string> made_;  // sessions to delete at the end

  Mutex mu_;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mu_) = nullptr;
};

grpc::Status Usage(const std::string& what) {
  return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, what);
}

// The text with what was typed in the place of {}.
std::string Framed(const std::string& turn, const std::string& typed) {
  const size_t place = turn.find("{}");
  if (place == std::string::npos) return turn + typed;
  return turn.substr(0, place) + typed + turn.substr(place + 2);
}

grpc::Status Chat::Call(const std::function<grpc::Status(grpc::ClientContext*)>& call) {
  grpc::ClientContext context;
  {
    const MutexLock lock(&mu_);
    running_ = &context;
  }
  const grpc::Status status = call(&context);
  const MutexLock lock(&mu_);
  running_ = nullptr;
  return status;
}

bool Chat::EndAnswer() {
  const MutexLock lock(&mu_);
  if (running_ == nullptr) return false;
  running_->TryCancel();
  return true;
}

void Chat::Enter(const v1::Session& session, bool made) {
  id_ = session.id();
  tokens_ = session.tokens();
  if (made && !options_.keep) made_.push_back(id_);
}

grpc::Status Chat::Open() {
  v1::Session session;
  return Call([&](grpc::ClientContext* context) {
    grpc::Status status;
    if (options_.session_id.empty()) {
      v1::CreateSessionRequest request;
      if (!options_.keep) request.set_ttl_seconds(kLostSessionSeconds);
      status = sessions_->Create(context, request, &session);
    } else {
      v1::GetSessionRequest request;
      request.set_id(options_.session_id);
      status = sessions_->Get(context, request, &session);
    }
    if (status.ok()) Enter(session, /*made=*/options_.session_id.empty());
    return status;
  });
}

void Chat::Close() {
  for (const std::string& id : made_) {
    v1::DeleteSessionRequest request;
    request.set_id(id);
    v1::Session deleted;
    // A session that has gone already is as good.
    Call([&](grpc::ClientContext* context) {
      return sessions_->Delete(context, request, &deleted);
    });
  }
}

grpc::Status Chat::Answer(const std::string& text, grpc::ClientContext* context) {
  v1::GenerateRequest request = options_.request;
  request.set_session_id(id_);
  request.set_when_busy(v1::WHEN_BUSY_WAIT);
  if (!text.empty()) request.set_text(text);
  const auto reader = generation_->Generate(context, request);
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (response.has_chunk()) std::cout << response.chunk().text() << std::flush;
    if (!std::cout) context->TryCancel();  // nobody gets the rest
    if (response.has_final()) tokens_ = response.final().session_tokens();
  }
  std::cout << std::endl;
  return reader->Finish();
}

grpc::Status Chat::Turn(const std::string& line) {
  const int32_t before = tokens_;
  const std::string text = line.empty() ? "" : Framed(options_.turn, line);
  grpc::Status status = Call([&](grpc::ClientContext* context) { return Answer(text, context); });
  if (status.error_code() == grpc::StatusCode::CANCELLED) {
    // The answer so far is part of the session.
    std::cerr << "(interrupted)" << std::endl;
    status = AwaitEndOfAnswer();
    if (status.ok()) status = Describe();
  }
  if (status.ok()) turns_.push_back(before);
  return status;
}

// The server ends a cancelled answer a little later than the client. A score waits in the session's
// queue until then, computes one row and leaves the session as it is; every vocabulary has token 0.
grpc::Status Chat::AwaitEndOfAnswer() {
  v1::ScoreRequest request;
  request.set_session_id(id_);
  request.set_when_busy(v1::WHEN_BUSY_WAIT);
  request.mutable_token_ids()->add_ids(0);
  return Call([&](grpc::ClientContext* context) {
    const auto reader = generation_->Score(context, request);
    v1::ScoreResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  });
}

grpc::Status Chat::Describe() {
  v1::GetSessionRequest request;
  request.set_id(id_);
  v1::Session session;
  const grpc::Status status = Call(
      [&](grpc::ClientContext* context) { return sessions_->Get(context, request, &session); });
  if (!status.ok()) return status;
  tokens_ = session.tokens();
  std::cerr << "session " << id_ << ", " << tokens_ << " tokens" << std::endl;
  return status;
}

grpc::Status Chat::Fork(const std::string& id) {
  v1::ForkSessionRequest request;
  request.set_id(id_);
  if (!id.empty()) request.add_new_ids(id);
  v1::ForkSessionResponse response;
  const grpc::Status status = Call(
      [&](grpc::ClientContext* context) { return sessions_->Fork(context, request, &response); });
  if (!status.ok()) return status;
  const std::string from = id_;
  Enter(response.sessions(0), /*made=*/id.empty());
  std::cerr << "session " << id_ << ", a copy of " << from << std::endl;
  return status;
}

grpc::Status Chat::RewindTo(int32_t tokens) {
  v1::RewindSessionRequest request;
  request.set_id(id_);
  request.set_to_tokens(tokens);
  v1::Session session;
  const grpc::Status status = Call(
      [&](grpc::ClientContext* context) { return sessions_->Rewind(context, request, &session); });
  if (status.ok()) tokens_ = session.tokens();
  return status;
}

grpc::Status Chat::RewindTurns(const std::string& count) {
  const int turns = count.empty() ? 1 : std::atoi(count.c_str());
  if (turns < 1 || turns > static_cast<int>(turns_.size())) {
    return Usage("/rewind takes 1 to " + std::to_string(turns_.size()) +
                 " turns, as many as were made here");
  }
  const grpc::Status status = RewindTo(turns_[turns_.size() - turns]);
  if (!status.ok()) return status;
  turns_.resize(turns_.size() - turns);
  std::cerr << tokens_ << " tokens are left" << std::endl;
  return status;
}

grpc::Status Chat::Load(const std::string& file) {
  v1::Session session;
  const grpc::Status status = Call([&](grpc::ClientContext* context) {
    return LoadSession(v1::CreateSessionRequest(), file, sessions_.get(), context, &session);
  });
  if (!status.ok()) return status;
  turns_.clear();
  Enter(session, /*made=*/true);
  std::cerr << "session " << id_ << ", " << tokens_ << " tokens" << std::endl;
  return status;
}

grpc::Status Chat::Command(const std::string& name, const std::string& argument) {
  if (name == "help") {
    std::cerr << kHelp;
    return grpc::Status::OK;
  }
  if (name == "fork") return Fork(argument);
  if (name == "rewind") return RewindTurns(argument);
  if (name == "session") return Describe();
  if (name == "reset") {
    turns_.clear();
    return RewindTo(0);
  }
  if (argument.empty() && (name == "save" || name == "load")) {
    return Usage("/" + name + " needs a file's name");
  }
  if (name == "load") return Load(argument);
  if (name == "save") {
    return Call([&](grpc::ClientContext* context) {
      return SaveSession(id_, argument, sessions_.get(), context);
    });
  }
  return Usage("there is no /" + name + "; /help names what there is");
}

ExitCode Chat::Run() {
  if (const grpc::Status status = Open(); !status.ok()) return client_->Report(status);
  if (terminal_) std::cerr << "session " << id_ << "; /help says more" << std::endl;
  ExitCode code = kExitOk;
  std::string line;
  while (true) {
    if (terminal_) std::cout << "> " << std::flush;
    if (!std::getline(std::cin, line) || line == "/quit") break;
    grpc::Status status;
    if (line.starts_with('/') && !line.starts_with("//")) {
      const size_t space = line.find(' ');
      const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
      status = Command(line.substr(1, space - 1), argument);
    } else {
      status = Turn(line.starts_with("//") ? line.substr(1) : line);
    }
    if (!std::cout) {
      Close();
      return kExitOutput;
    }
    if (status.ok()) continue;
    code = client_->Report(status);
    // At a terminal one may try again; a script would go on with something else than it thinks.
    if (!terminal_ || code == kExitUnreachable) break;
  }
  Close();
  return terminal_ ? kExitOk : code;
}

}  // namespace

ExitCode RunChat(const ChatOptions& options, Client* client) { return Chat(options, client).Run(); }

}  // namespace retnet
