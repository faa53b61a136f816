// Tokenizes texts, for tests/testdata/tokenizers/compare.py: tokenize_lines FOLDER [special] reads
// JSON strings, one a line, and writes for each a list: its ids; the ids of its parts, cut wherever
// it can be; the text of the ids, byte by byte as it comes. tokenize_lines FOLDER time FILE [TIMES]
// tells how fast a text is tokenized.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/json_reader.h"
#include "models/tokenizer.h"
#include "models/utf8.h"

namespace retnet {
namespace {

std::vector<TokenId> InParts(const Tokenizer& tokenizer, const std::string& text, size_t from,
                             size_t part_bytes) {
  std::vector<TokenId> tokens;
  for (size_t at = 0; at < text.size();) {
    size_t end = tokenizer.FirstCut(text, at + from, at + part_bytes);
    if (end == std::string::npos) end = text.size();
    const std::string_view part = std::string_view(text).substr(at, end - at);
    tokenizer.Join(*(at == 0 ? tokenizer.Encode(part) : tokenizer.EncodeNext(part)), &tokens);
    at = end;
  }
  return tokens;
}

std::string Detokenized(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  std::string text;
  Utf8Assembler characters;
  for (const TokenId token : tokens) {
    for (const char byte : tokenizer.Bytes(token)) characters.Push({&byte, 1}, &text);
  }
  characters.Flush(&text);
  return text;
}

int TokenizeLines(const Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);) {
    const std::string text = nlohmann::json::parse(line);
    const auto tokens = tokenizer.Encode(text);
    if (!tokens.ok()) {
      std::cerr << tokens.status() << "\n";
      return 1;
    }
    std::cout << nlohmann::json({*tokens, InParts(tokenizer, text, 1, text.size()),
                                 Detokenized(tokenizer, *tokens)})
              << "\n";
  }
  return 0;
}

int Time(const Tokenizer& tokenizer, const std::string& file, int times) {
  const auto text = ReadFile(file);
  if (!text.ok()) return 1;
  size_t tokens = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < times; ++i) tokens = InParts(tokenizer, *text, 16 << 10, 1 << 20).size();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::printf("%zu bytes, %zu tokens, %.1f MB/s\n", text->size(), tokens,
              static_cast<double>(text->size()) * times / seconds.count() / 1e6);
  return 0;
}

}  // namespace
}  // namespace retnet

int main(int count, char** arguments) {
  const std::string what = count > 2 ? arguments[2] : "";
  if (count < 2 || (what == "time" && count < 4)) return 2;
  const auto tokenizer = retnet::Tokenizer::Load(arguments[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  if (what == "time") {
    return retnet::Time(**tokenizer, arguments[3], count > 4 ? std::atoi(arguments[4]) : 1);
  }
  return retnet::TokenizeLines(what == "special" ? (*tokenizer)->ParsingSpecialTokens()
                                                 : **tokenizer);
}
