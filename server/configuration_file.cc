#include "server/configuration_file.h"

#include <CLI/CLI.hpp>
#include <regex>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// CLI11 2.1.2 takes a # for a comment even between quotes. So comments are removed before it sees
// the text, and its own mark of a comment becomes a byte that no text has.
constexpr char kNoComment = '\x01';

absl::Status FaultOfLine(size_t line, absl::string_view fault) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", fault));
}

// Removes comments, and refuses what CLI11 would read as something else than was meant.
class Lines {
 public:
  absl::StatusOr<std::string> Clean(absl::string_view text) {
    absl::ConsumePrefix(&text, "\xEF\xBB\xBF");  // a mark of UTF-8 that some editors write
    std::string cleaned;
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      ++number_;
      ASSIGN_OR_RETURN(const absl::string_view kept, WithoutComment(line));
      // CLI11 does not see a list whose first line has nothing but its [.
      absl::StrAppend(&cleaned, kept, in_list_ ? " " : "\n");
    }
    if (in_list_) return FaultOfLine(list_begin_, "the list that begins here has no ]");
    return cleaned;
  }

 private:
  absl::StatusOr<absl::string_view> WithoutComment(absl::string_view line) {
    line = absl::StripAsciiWhitespace(line);
    if (line.find(kNoComment) != line.npos || line.find('\0') != line.npos) {
      return FaultOfLine(number_, "control characters are not allowed");
    }
    if (!in_list_ && absl::StartsWith(line, ";")) return "";
    if (!in_list_ && absl::StartsWith(line, "[")) {
      return FaultOfLine(number_, "there are no sections; write KEY = VALUE lines alone");
    }
    ASSIGN_OR_RETURN(line, UpToComment(line));
    line = absl::StripAsciiWhitespace(line);
    // CLI11 ignores lines that are so short.
    if (!in_list_ && !line.empty() && line != "]" && line.size() < 3) {
      return FaultOfLine(number_, "it must be KEY = VALUE");
    }
    return line;
  }

  absl::StatusOr<absl::string_view> UpToComment(absl::string_view line) {
    bool in_value = in_list_;      // not in the key
    bool value_begins = in_value;  // at its first character, which may be a quote
    bool list_ended = false;
    for (size_t i = 0; i < line.size(); ++i) {
      const char c = line[i];
      if (c == '#') return line.substr(0, i);
      if (absl::ascii_isspace(c)) continue;
      if (list_ended) {
        return FaultOfLine(number_, "a value that begins with [ is a list; put quotes around it");
      }
      if (!in_value) {
        in_value = value_begins = c == '=';
      } else if (value_begins && (c == '"' || c == '\'')) {
        i = line.find(c, i + 1);
        if (i == line.npos) return FaultOfLine(number_, "a quote is not closed");
        value_begins = false;
      } else if (value_begins && c == '[') {
        in_list_ = true;
        list_begin_ = number_;
      } else if (c == ']' && in_list_) {
        in_list_ = false;
        list_ended = true;
      } else {
        value_begins = c == ',';
      }
    }
    return line;
  }

  size_t number_ = 0;
  bool in_list_ = false;
  size_t list_begin_ = 0;  // its line
};

bool ReadsBack(const std::string& line, const FileItem& item) {
  const absl::StatusOr<std::vector<FileItem>> items = ParseConfigurationFile(line);
  return items.ok() && items->size() == 1 && items->front().key == item.key &&
         items->front().values == item.values;
}

}  // namespace

absl::StatusOr<std::vector<FileItem>> ParseConfigurationFile(const std::string& text) {
  ASSIGN_OR_RETURN(const std::string cleaned, Lines().Clean(text));
  CLI::ConfigBase format;
  format.comment(kNoComment);
  format.parentSeparator(kNoComment);  // a dot in a key is a dot
  std::istringstream input(cleaned);
  std::vector<FileItem> items;
  for (CLI::ConfigItem& item : format.from_config(input)) {
    std::erase(item.inputs, "");
    items.push_back({std::move(item.name), std::move(item.inputs)});
  }
  return items;
}

absl::StatusOr<std::string> ConfigurationLine(const FileItem& item) {
  // What TOML takes without quotes, too.
  static const std::regex& bare =
      *new std::regex("true|false|[+-]?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
  // TOML reads a backslash between double quotes as an escape, so those come last.
  for (const char quote : {'"', '\''}) {
    std::vector<std::string> written;
    bool escapes = false;
    for (const std::string& value : item.values) {
      escapes |= quote == '"' && value.find('\\') != value.npos;
      const std::string mark(1, quote);
      written.push_back(std::regex_match(value, bare) ? value : absl::StrCat(mark, value, mark));
    }
    if (escapes) continue;
    const std::string values = absl::StrJoin(written, ", ");
    const std::string line =
        absl::StrCat(item.key, " = ", written.size() > 1 ? absl::StrCat("[", values, "]") : values);
    if (ReadsBack(line, item)) return line;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no line of a file can hold the value of ", item.key));
}

}  // namespace retnet
