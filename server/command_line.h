// What the command lines of retnetd and retnet share: how numbers and words are checked, and how
// the help is laid out. It knows CLI11 alone, so that the client may include it, too.
#ifndef RETNET_SERVER_COMMAND_LINE_H_
#define RETNET_SERVER_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <cmath>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace retnet {

// "a, b or c"
inline std::string Listed(const std::vector<std::string>& words) {
  std::string listed;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) listed += i + 1 == words.size() ? " or " : ", ";
    listed += words[i];
  }
  return listed;
}

// Accepts a number from `least` to `most`, but `least` itself only where it is `included`. A bound
// may be infinite. NaN is refused. The message names value and bounds; CLI11 puts the flag before.
inline CLI::Validator NumberFrom(double least, double most, bool included = true) {
  return CLI::Validator(
      [=](const std::string& text) -> std::string {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value <= most &&
            (included ? value >= least : value > least)) {
          return "";
        }
        std::ostringstream message;
        message.precision(17);
        message << text << " must be " << (included ? "at least " : "more than ") << least;
        if (!std::isinf(most)) message << ", at most " << most;
        return message.str();
      },
      "");
}

inline CLI::Validator OneOf(const std::vector<std::string>& words) {
  return CLI::Validator(
      [words](const std::string& text) -> std::string {
        for (const std::string& word : words) {
          if (text == word) return "";
        }
        return text + " must be " + Listed(words);
      },
      "");
}

// Two lines or more for an option: its names and value, then its description with, in brackets,
// what CLI11 knows: option_text(), default, environment variable, what it excludes.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    label("Positionals", "Arguments");
    label("SUBCOMMAND", "COMMAND");
    column_width(16);
  }

  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    const std::string help = CLI::Formatter::make_help(app, std::move(name), mode);
    return CLI::detail::find_and_replace(help, "\n\n\n", "\n\n");
  }

  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    std::ostringstream out;
    out << "  " << make_option_name(option, is_positional);
    if (!is_positional) out << make_option_opts(option);
    out << "\n";
    std::string text = option->get_description();
    if (const std::string facts = Facts(*option); !facts.empty()) text += " [" + facts + "]";
    out << Wrapped(text, "      ");
    return out.str();
  }

  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    if (is_positional) return option->get_name(/*positional=*/true, /*all_options=*/false);
    std::string names;
    for (const std::string& name : option->get_snames()) names += ", -" + name;
    for (const std::string& name : option->get_lnames()) names += ", --" + name;
    return names.substr(2);
  }

  // The value. A flag takes none.
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_name().empty()) return "";
    const bool many = option->get_expected_max() > 1 && option->get_delimiter() == '\0';
    return " " + option->get_type_name() + (many ? " ..." : "");
  }

 private:
  static std::string Facts(const CLI::Option& option) {
    std::string facts;
    const auto add = [&facts](const std::string& fact) {
      facts += (facts.empty() ? "" : "; ") + fact;
    };
    if (option.get_required()) add("required");
    if (!option.get_option_text().empty()) add(option.get_option_text());
    if (const std::string value = option.get_default_str(); !value.empty()) {
      const bool list = value.front() == '[' && value.back() == ']';
      add("default: " + (list ? value.substr(1, value.size() - 2) : value));
    }
    if (!option.get_envname().empty()) add("environment: " + option.get_envname());
    std::set<std::string> excluded;  // CLI11 has them in the order of their addresses
    for (const CLI::Option* other : option.get_excludes()) excluded.insert(other->get_name());
    for (const std::string& name : excluded) add("not with " + name);
    return facts;
  }

  // Lines of at most 80 columns that begin with `indent`.
  static std::string Wrapped(const std::string& text, const std::string& indent) {
    constexpr size_t kColumns = 80;
    std::istringstream words(text);
    std::string lines;
    std::string line = indent;
    for (std::string word; words >> word;) {
      if (line != indent && line.size() + 1 + word.size() > kColumns) {
        lines += line + "\n";
        line = indent;
      }
      line += (line == indent ? "" : " ") + word;
    }
    return lines + line + "\n";
  }
};

}  // namespace retnet

#endif  // RETNET_SERVER_COMMAND_LINE_H_
