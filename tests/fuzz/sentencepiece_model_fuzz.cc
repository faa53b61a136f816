// Any bytes as a tokenizer.model: an error, or pieces and rules that say where a text may be cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "models/tokenizers/sentencepiece_model.h"
#include "models/tokenizers/text_cuts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto model =
      retnet::ParseSentencePieceModel(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!model.ok()) return 0;
  const retnet::TextCuts cuts(*model);
  constexpr std::string_view kText =
      "Once upon  a time 12 e\u0301 \u212b \u2581<eot>km(c\n\U0001f642 ";
  size_t last = std::string_view::npos;
  for (size_t at = 0; at < kText.size();) {
    const size_t cut = cuts.First(kText, at + 1, kText.size());
    if (cut == std::string_view::npos) break;
    if (cut <= at || (kText[cut] & 0xC0) == 0x80) std::abort();
    last = at = cut;
  }
  if (cuts.Last(kText) != last) std::abort();
  return 0;
}
