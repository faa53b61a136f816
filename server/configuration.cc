#include "server/configuration.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <regex>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "kernels/regular_file.h"
#include "server/configuration_file.h"

namespace retnet {
namespace {

constexpr absl::string_view kPrefix = "RETNET_";
// The client's variables, and those of docker/compose.yaml, which may stand in a shell that starts
// a server as well.
constexpr absl::string_view kOthersVariables[] = {"RETNET_TOKEN",  "RETNET_TOKEN_FILE",
                                                  "RETNET_TLS_CA", "RETNET_IMAGE",
                                                  "RETNET_MODELS", "RETNET_PORT"};

// Values for an option that the command line does not set.
struct Setting {
  std::vector<std::string> values;
  std::string origin;
  std::string key;  // the name under which it was set, without dashes
};
using Settings = std::map<CLI::Option*, Setting>;

std::string VariableOf(absl::string_view key) {
  return absl::StrCat(kPrefix, absl::AsciiStrToUpper(absl::StrReplaceAll(key, {{"-", "_"}})));
}

// The name of an option without dashes: the first one. "" for one that has short names alone.
std::string KeyOf(const CLI::Option& option) {
  return option.get_lnames().empty() ? "" : option.get_lnames().front();
}

bool IsConfigurable(const CLI::Option& option) {
  return option.get_configurable() && !KeyOf(option).empty();
}

bool IsFlag(const CLI::Option& option) { return option.get_expected_max() == 0; }
bool IsList(const CLI::Option& option) { return option.get_expected_max() > 1; }

// The least number of characters to insert, delete or replace that make one text of the other
// (Levenshtein).
size_t Distance(absl::string_view from, absl::string_view to) {
  std::vector<size_t> row(to.size() + 1);  // distances of the beginning of `from` to those of `to`
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

// What whoever wrote `key`, which nobody knows, may have meant, as a part of a message; "" if
// nothing is near.
std::string Suggestion(const std::string& key, const std::vector<std::string>& keys,
                       const std::vector<RenamedFlag>& renamed, bool variable) {
  const auto shown = [&](absl::string_view name) {
    return variable ? VariableOf(name) : std::string(name);
  };
  std::string plain = absl::StrReplaceAll(absl::AsciiStrToLower(key), {{"_", "-"}});
  plain.erase(0, std::min(plain.find_first_not_of('-'), plain.size()));
  for (const RenamedFlag& flag : renamed) {
    if (absl::StripPrefix(flag.old_name, "--") == plain) {
      return absl::StrCat("; it is now called ", shown(absl::StripPrefix(flag.new_name, "--")));
    }
  }
  // A shortened name is nearer than its distance says.
  const auto distance = [&](const std::string& known) {
    const bool begins = plain.size() > 3 && absl::StartsWith(known, plain);
    return begins ? 1 : Distance(plain, known);
  };
  std::string nearest;
  size_t least = std::max<size_t>(2, plain.size() / 3) + 1;
  for (const std::string& known : keys) {
    const size_t here = distance(known);
    if (here < least) nearest = known;
    least = std::min(least, here);
  }
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", shown(nearest), "?");
}

// Kubernetes sets such variables for a service that is called retnet, or retnet-something.
bool IsOfKubernetes(const std::string& variable) {
  static const std::regex& pattern =
      *new std::regex(".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?)");
  return std::regex_match(variable, pattern);
}

[[noreturn]] void Refuse(absl::string_view origin, absl::string_view fault) {
  throw CLI::ConfigError(absl::StrCat(origin, ": ", fault));
}

// The values as the option takes them, which it does. Refuses values that are wrong.
std::vector<std::string> Checked(const Setting& setting, CLI::Option* option) {
  std::vector<std::string> values = setting.values;
  if (values.size() > 1 && !IsList(*option)) {
    Refuse(setting.origin,
           absl::StrCat(setting.key, " has ", values.size(),
                        " values and takes one; put quotes around a value with spaces or commas"));
  }
  if (IsFlag(*option)) {
    static const std::regex& yes = *new std::regex("true|on|yes|1", std::regex::icase);
    static const std::regex& no = *new std::regex("false|off|no|0", std::regex::icase);
    if (!std::regex_match(values[0], yes) && !std::regex_match(values[0], no)) {
      Refuse(setting.origin, absl::StrCat(setting.key, ": ", values[0], " must be true or false"));
    }
    // Of a name that stands for the opposite it is the opposite.
    values[0] =
        option->get_flag_value(setting.key, std::regex_match(values[0], yes) ? "true" : "false");
  }
  try {
    for (const std::string& value : values) option->add_result(value);
    option->run_callback();
  } catch (const CLI::ParseError& error) {
    Refuse(setting.origin, error.what());
  }
  return values;
}

class Sources {
 public:
  Sources(CLI::App* app, const std::vector<RenamedFlag>& renamed) : app_(app), renamed_(renamed) {
    for (CLI::Option* option : app->get_options()) {
      if (!IsConfigurable(*option)) continue;
      variables_[VariableOf(KeyOf(*option))] = option;
      for (const std::string& name : option->get_lnames()) options_[name] = option;
      main_keys_.push_back(KeyOf(*option));
    }
  }

  // CLI11 would read variables by itself, after the file. So the options get their names for the
  // help alone: when it has parsed the command line.
  void NameVariables() {
    for (const auto& [variable, option] : variables_) option->envname(variable);
    if (CLI::Option* file = FileOption()) file->envname(VariableOf("config"));
  }

  CLI::Option* FileOption() { return app_->get_option_no_throw("--config"); }

  // Of the file that command line or environment name; "" without one.
  std::string FilePath() {
    const CLI::Option* option = FileOption();
    if (option == nullptr) return "";
    if (option->count() > 0) return option->as<std::string>();
    const char* path = std::getenv(VariableOf("config").c_str());
    return path == nullptr ? "" : path;
  }

  void ReadFile(const std::string& path, Settings* settings) {
    const std::string origin = absl::StrCat("file ", path);
    const absl::StatusOr<std::string> text = ReadRegularFile(path);
    if (!text.ok()) Refuse("--config", text.status().message());
    absl::StatusOr<std::vector<FileItem>> items = ParseConfigurationFile(*text);
    if (!items.ok()) Refuse(origin, items.status().message());
    for (FileItem& item : *items) {
      const auto known = options_.find(item.key);
      if (known == options_.end()) RefuseKey(origin, item.key);
      if (item.values.empty()) continue;
      Setting& setting = (*settings)[known->second];
      if (!setting.values.empty() && !IsList(*known->second)) {
        Refuse(origin, absl::StrCat(item.key, " is set a second time"));
      }
      setting.origin = origin;
      setting.key = item.key;
      std::move(item.values.begin(), item.values.end(), std::back_inserter(setting.values));
    }
  }

  // Instead of what the file says. Adds to `warnings` what nobody reads.
  void ReadEnvironment(Settings* settings, std::vector<std::string>* warnings) {
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::vector<std::string> parts = absl::StrSplit(*entry, absl::MaxSplits('=', 1));
      const std::string& name = parts[0];
      if (!absl::StartsWith(name, kPrefix) || parts.size() < 2) continue;
      const auto known = variables_.find(name);
      if (known == variables_.end()) {
        Warn(name, warnings);
      } else if (!parts[1].empty()) {
        CLI::Option* option = known->second;
        std::vector<std::string> values = {parts[1]};
        if (IsList(*option)) values = absl::StrSplit(parts[1], ',', absl::SkipEmpty());
        if (values.empty()) continue;
        (*settings)[option] = {std::move(values), absl::StrCat("environment ", name),
                               KeyOf(*option)};
      }
    }
    std::sort(warnings->begin(), warnings->end());
  }

 private:
  [[noreturn]] void RefuseKey(const std::string& origin, const std::string& key) {
    if (app_->get_option_no_throw("--" + key) != nullptr) {
      Refuse(origin, absl::StrCat(key, " belongs on the command line, not in a file"));
    }
    std::vector<std::string> keys;
    for (const auto& [name, option] : options_) keys.push_back(name);
    Refuse(origin, absl::StrCat("unknown key ", key, Suggestion(key, keys, renamed_, false)));
  }

  void Warn(const std::string& variable, std::vector<std::string>* warnings) {
    if (variable == VariableOf("config") || IsOfKubernetes(variable)) return;
    if (std::count(std::begin(kOthersVariables), std::end(kOthersVariables), variable)) return;
    warnings->push_back(absl::StrCat(
        "no flag has the environment variable ", variable,
        Suggestion(variable.substr(kPrefix.size()), main_keys_, renamed_, /*variable=*/true)));
  }

  CLI::App* const app_;
  const std::vector<RenamedFlag>& renamed_;
  std::map<std::string, CLI::Option*> variables_;
  std::map<std::string, CLI::Option*> options_;  // by each name
  std::vector<std::string> main_keys_;
};

void Parse(std::vector<std::string> arguments, CLI::App* app) {
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  app->parse(std::move(arguments));
}

// Finds out what the command line sets. What is missing there may be in another source.
void ParseCommandLine(const std::vector<std::string>& arguments, CLI::App* app) {
  try {
    Parse(arguments, app);
  } catch (const CLI::RequiredError&) {
  } catch (const CLI::RequiresError&) {
  }
}

// The last of several values where an option takes one. "": nothing has been set.
std::vector<std::string> ValuesOf(const CLI::Option& option) {
  if (!IsFlag(option)) return option.reduced_results();
  return {CLI::detail::to_flag_value(option.results().back()) > 0 ? "true" : "false"};
}

std::string DefaultLine(const CLI::Option& option) {
  std::string value = option.get_default_str();
  if (value.empty() && IsFlag(option)) value = "false";
  const absl::StatusOr<std::string> line = ConfigurationLine({KeyOf(option), {value}});
  return absl::StrCat("# ", line.ok() ? *line : KeyOf(option) + " = \"\"", "  # default");
}

}  // namespace

Configuration ParseConfiguration(const std::vector<std::string>& arguments,
                                 const std::vector<RenamedFlag>& renamed, CLI::App* app) {
  Configuration configuration;
  Settings settings;
  Sources sources(app, renamed);
  {
    const auto name_variables = absl::MakeCleanup([&] { sources.NameVariables(); });
    ParseCommandLine(arguments, app);
    configuration.file = sources.FilePath();
    if (!configuration.file.empty()) sources.ReadFile(configuration.file, &settings);
    sources.ReadEnvironment(&settings, &configuration.warnings);
    for (const CLI::Option* option : app->get_options()) {
      if (option->count() > 0) configuration.origins[option] = "command line";
    }
  }
  std::vector<std::string> all;
  for (const auto& [option, setting] : settings) {
    if (!configuration.origins.emplace(option, setting.origin).second) continue;
    for (const std::string& value : Checked(setting, option)) {
      all.push_back(absl::StrCat("--", KeyOf(*option), "=", value));
    }
  }
  // Once more with everything, which also checks what options need of each other.
  all.insert(all.end(), arguments.begin(), arguments.end());
  Parse(all, app);
  return configuration;
}

std::string WrittenConfiguration(const CLI::App& app, const Configuration& configuration) {
  std::string written;
  std::string group;
  for (const CLI::Option* option : app.get_options()) {
    if (!IsConfigurable(*option)) continue;
    if (option->get_group() != group) {
      group = option->get_group();
      absl::StrAppend(&written, written.empty() ? "" : "\n", "# ", group, "\n");
    }
    const auto origin = configuration.origins.find(option);
    if (origin == configuration.origins.end()) {
      absl::StrAppend(&written, DefaultLine(*option), "\n");
      continue;
    }
    FileItem item{KeyOf(*option), ValuesOf(*option)};
    bool password = false;
    for (std::string& value : item.values) {
      const std::string shown = WithoutPassword(value);
      password |= shown != std::exchange(value, shown);
    }
    const absl::StatusOr<std::string> line = ConfigurationLine(item);
    const std::string note = absl::StrCat("  # ", absl::CHexEscape(origin->second),
                                          password ? "; the password is not shown" : "");
    absl::StrAppend(&written, line.ok() ? *line : absl::StrCat("# ", line.status().message()), note,
                    "\n");
  }
  return written;
}

std::string WithoutPassword(const std::string& text) {
  const size_t scheme = text.find("://");
  const size_t at = text.rfind('@');
  if (scheme == text.npos || at == text.npos || at < scheme) return text;
  const size_t begin = scheme + 3;
  const size_t colon = std::min(text.find(':', begin), at);
  const std::string user = colon < at ? text.substr(begin, colon + 1 - begin) : "";
  return absl::StrCat(text.substr(0, begin), user, "***", text.substr(at));
}

}  // namespace retnet
