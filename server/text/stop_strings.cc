#include "server/text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace retnet {

StopStrings::StopStrings(std::vector<std::string> strings) {
  for (std::string& string : strings) {
    Automaton automaton{std::move(string), {0}};
    // The part of the automaton that is built already finds where the string repeats its own
    // beginning.
    for (size_t i = 1; i < automaton.string.size(); ++i) {
      Advance(automaton.string[i], &automaton);
      automaton.fallback.push_back(automaton.matched);
    }
    automaton.matched = 0;
    automata_.push_back(std::move(automaton));
  }
}

void StopStrings::Advance(char byte, Automaton* automaton) {
  int32_t& matched = automaton->matched;
  const std::string& string = automaton->string;
  if (matched == static_cast<int32_t>(string.size())) matched = automaton->fallback[matched - 1];
  while (matched > 0 && string[matched] != byte) matched = automaton->fallback[matched - 1];
  if (string[matched] == byte) ++matched;
}

const std::string* StopStrings::Push(char byte) {
  const std::string* found = nullptr;
  pending_ = 0;
  for (Automaton& automaton : automata_) {
    Advance(byte, &automaton);
    const size_t matched = automaton.matched;
    const bool whole = matched == automaton.string.size();
    if (whole && (found == nullptr || matched > found->size())) found = &automaton.string;
    pending_ = std::max(pending_, whole ? size_t(automaton.fallback[matched - 1]) : matched);
  }
  return found;
}

}  // namespace retnet
