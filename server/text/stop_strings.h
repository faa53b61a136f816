// Finds the first of several strings in a text that arrives in pieces.
#ifndef RETNET_SERVER_TEXT_STOP_STRINGS_H_
#define RETNET_SERVER_TEXT_STOP_STRINGS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retnet {

// Runs one automaton for each string (Knuth, Morris and Pratt, SIAM J. Computing 1977), byte by
// byte. The result does not depend on how the text was cut into pieces. Copyable and
// thread-compatible.
class StopStrings {
 public:
  // No string may be empty.
  explicit StopStrings(std::vector<std::string> strings);

  bool empty() const { return automata_.empty(); }
  // Adds one byte. Returns the string that the text now ends with (the longest of several), or
  // nullptr.
  const std::string* Push(char byte);
  // The number of newest bytes that may be the beginning of a string.
  size_t pending() const { return pending_; }

 private:
  struct Automaton {
    std::string string;
    std::vector<int32_t> fallback;  // [i]: the next shorter match after i + 1 matched bytes
    int32_t matched = 0;
  };
  static void Advance(char byte, Automaton* automaton);

  std::vector<Automaton> automata_;
  size_t pending_ = 0;
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_STOP_STRINGS_H_
