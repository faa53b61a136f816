// Any text as a tokenizer.json gives an error or a tokenizer. With a tokenizer the parts of a text
// give the tokens of the whole.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/json_reader.h"
#include "models/tokenizers/bpe_tokenizer.h"
#include "models/tokenizers/tokenizer_json.h"

namespace {

constexpr std::string_view kTexts[] = {
    "",
    "Once upon  a time, it's 1234 'LL <s> </s><unk>\n\n\t x=1;  e\u0301 \u00e9\u212b\u1100\u1161 ",
    " \u2581\u2581a b  aab abab\ue000\U0001f642 <x> <x>a  <x>  a<x> \r\n\r\n<y>, 12 "
    "\u0301\u0338=\u0338",
};

void Check(const retnet::Tokenizer& tokenizer, std::string_view text) {
  const std::vector<retnet::TokenId> whole = *tokenizer.Encode(text);
  std::vector<retnet::TokenId> joined;
  for (size_t at = 0; at < text.size();) {
    const size_t cut = tokenizer.FirstCut(text, at + 1, text.size());
    const size_t end = cut == std::string_view::npos ? text.size() : cut;
    const std::string_view part = text.substr(at, end - at);
    tokenizer.Join(*(at == 0 ? tokenizer.Encode(part) : tokenizer.EncodeNext(part)), &joined);
    at = end;
  }
  if (joined != whole || !tokenizer.Decode(whole).ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto object = retnet::ParseJsonObject(
      std::string_view(reinterpret_cast<const char*>(data), size), "fuzzed");
  if (!object.ok()) return 0;
  auto parsed = retnet::ParseTokenizerJson(*object);
  if (!parsed.ok()) return 0;
  const std::unique_ptr<retnet::Tokenizer> tokenizer =
      retnet::MakeBpeTokenizer(*std::move(parsed), {});
  for (const std::string_view text : kTexts) {
    Check(*tokenizer, text);
    Check(tokenizer->ParsingSpecialTokens(), text);
  }
  return 0;
}
