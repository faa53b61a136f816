#include "tests/server/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "gtest/gtest.h"

namespace retnet {
namespace {

std::string TemporaryFile(const std::string& content) {
  std::string path = testing::TempDir() + "process_XXXXXX";
  const int file = mkstemp(path.data());
  EXPECT_GE(file, 0);
  close(file);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const std::string& input)
    : error_path_(TemporaryFile("")) {
  const std::string input_path = TemporaryFile(input);
  int pipe_ends[2];
  EXPECT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  output_pipe_ = pipe_ends[0];
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, input_path.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, pipe_ends[1], 1);
  posix_spawn_file_actions_addopen(&files, 2, error_path_.c_str(), O_WRONLY, 0);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  EXPECT_EQ(posix_spawn(&pid_, argv[0], &files, nullptr, argv.data(), environ), 0) << argv[0];
  posix_spawn_file_actions_destroy(&files);
  close(pipe_ends[1]);
  std::remove(input_path.c_str());
}

Process::~Process() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(output_pipe_);
  std::remove(error_path_.c_str());
}

std::string Process::ReadSome() {
  char buffer[4096];
  const ssize_t count = read(output_pipe_, buffer, sizeof(buffer));
  if (count <= 0) return "";
  output_.append(buffer, count);
  return std::string(buffer, count);
}

std::string Process::ReadLine() {
  size_t end;
  while ((end = output_.find('\n', line_begin_)) == std::string::npos) {
    if (ReadSome().empty()) break;
  }
  const std::string line = output_.substr(line_begin_, end - line_begin_);
  line_begin_ = end == std::string::npos ? output_.size() : end + 1;
  return line;
}

void Process::Signal(int signal) { EXPECT_EQ(kill(pid_, signal), 0); }

int Process::Wait() {
  while (!ReadSome().empty()) {
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string Process::error() const {
  std::ifstream file(error_path_, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace retnet
