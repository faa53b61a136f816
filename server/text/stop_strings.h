// Finds the first of several strings in a text that arrives in pieces.
#ifndef RETNET_SERVER_TEXT_STOP_STRINGS_H_
#define RETNET_SERVER_TEXT_STOP_STRINGS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retnet {

// One automaton for each string (Knuth, Morris and Pratt), fed byte by byte, so that what is found
// does not depend on how the text was cut. Copyable; thread-compatible.
class StopStrings {
 public:
  // None of them is empty.
  explicit StopStrings(std::vector<std::string> strings);

  bool empty() const { return automata_.empty(); }
  // Takes one more byte. Returns the string that the text now ends with, the longest if several do,
  // else nullptr.
  const std::string* Push(char byte);
  // How many of the newest bytes may be the beginning of a string.
  size_t pending() const { return pending_; }

 private:
  struct Automaton {
    std::string string;
    std::vector<int32_t> fallback;  // of i + 1 matched bytes: the next shorter match
    int32_t matched = 0;
  };
  static void Advance(char byte, Automaton* automaton);

  std::vector<Automaton> automata_;
  size_t pending_ = 0;
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_STOP_STRINGS_H_
