// A child process whose output a test reads.
#ifndef RETNET_TESTS_SERVER_PROCESS_H_
#define RETNET_TESTS_SERVER_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace retnet {

// Killed in the destructor unless it has ended. Its standard error goes to a file, its standard
// output to a pipe that is read only when asked for.
class Process {
 public:
  // arguments[0] is the program's path.
  explicit Process(const std::vector<std::string>& arguments, const std::string& input = "");
  ~Process();
  Process(const Process&) = delete;

  // The next line of its output without the newline; what is left at the end.
  std::string ReadLine();
  // At least one byte more of its output; "" at the end.
  std::string ReadSome();
  void Signal(int signal);
  // Until Wait.
  pid_t pid() const { return pid_; }
  // Reads the rest of the output and waits. The exit code, or minus the signal that ended it.
  int Wait();

  // All output that has been read.
  const std::string& output() const { return output_; }
  std::string error() const;

 private:
  pid_t pid_ = -1;
  int output_pipe_ = -1;
  std::string error_path_;
  std::string output_;
  size_t line_begin_ = 0;  // of the next line in output_
};

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_PROCESS_H_
