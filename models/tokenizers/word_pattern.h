// How the tokenizers of byte-level BPE divide a text into words: by a regular expression, of which
// there are a few. Each is matched here by hand.
#ifndef RETNET_MODELS_TOKENIZERS_WORD_PATTERN_H_
#define RETNET_MODELS_TOKENIZERS_WORD_PATTERN_H_

#include <cstddef>
#include <optional>
#include <string_view>

namespace retnet {

// Immutable. Texts are valid UTF-8.
class WordPattern {
 public:
  enum Digits {
    kTogether,    // the expression alone decides
    kApart,       // numbers are divided from all else first
    kIndividual,  // and from each other
  };

  // GPT-2's, which GPT-NeoX uses too.
  WordPattern() = default;
  // One of the expressions below, character by character; nullopt for any other.
  static std::optional<WordPattern> Find(std::string_view expression);

  void set_digits(Digits digits) { digits_ = digits; }

  // Calls take(word) for each word of the text. The time is linear in the text's length.
  template <typename Take>
  void Divide(std::string_view text, const Take& take) const {
    while (!text.empty()) {
      const std::string_view part = text.substr(0, EndOfPart(text, 0));
      for (size_t at = 0; at < part.size();) {
        const size_t end = EndOfWord(part, at);
        take(part.substr(at, end - at));
        at = end;
      }
      text.remove_prefix(part.size());
    }
  }

  // Whether a word ends between two characters, wherever they stand, and each side's words are
  // what they would be without the other side.
  bool Divides(char32_t before, char32_t after) const;

 private:
  // Where what is divided first ends: numbers, or all else.
  size_t EndOfPart(std::string_view text, size_t at) const;
  // Where the expression, matched at `at`, ends.
  size_t EndOfWord(std::string_view text, size_t at) const;

  // Llama 3's family: a word takes any one character before it with it, contractions may be upper
  // case, and ends of lines belong to what is before them.
  bool llama3_ = false;
  size_t most_digits_ = 0;  // in a word; 0: any number
  Digits digits_ = kTogether;
};

}  // namespace retnet

#endif  // RETNET_MODELS_TOKENIZERS_WORD_PATTERN_H_
