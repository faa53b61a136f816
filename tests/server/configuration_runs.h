// Runs of retnetd that end by themselves: with --check-config, --help or an error.
#ifndef RETNET_TESTS_SERVER_CONFIGURATION_RUNS_H_
#define RETNET_TESTS_SERVER_CONFIGURATION_RUNS_H_

#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/server/identity/certificates.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"

namespace retnet {

struct RunResult {
  int exit_code;
  std::string output;
  std::string error;
};

// retnetd with variables NAME=VALUE and flags, in the folder of the sources.
inline RunResult RunRetnetd(const std::vector<std::string>& variables,
                            const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {"/usr/bin/env", "-C", RETNET_SOURCE_DIR};
  arguments.insert(arguments.end(), variables.begin(), variables.end());
  // A server that starts although it should not ends with status 124.
  arguments.insert(arguments.end(), {"timeout", "60", RETNETD_PATH});
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  Process process(arguments);
  const int exit_code = process.Wait();
  return {exit_code, process.output(), process.error()};
}

inline RunResult CheckConfig(const std::vector<std::string>& variables,
                             std::vector<std::string> flags) {
  flags.push_back("--check-config");
  return RunRetnetd(variables, flags);
}

inline std::string FileOf(const std::string& text) {
  const std::string path = NewFolder() + "/retnetd.toml";
  WriteText(path, text);
  return path;
}

inline std::string ModelLine() { return "model = \"" + ModelFolder() + "\"\n"; }

// The values of an output of --check-config, those of defaults too, and their origins.
struct Line {
  std::string value;
  std::string origin;
};
inline std::map<std::string, Line> LinesOf(const std::string& output) {
  static const std::regex pattern("(?:# )?([a-z0-9-]+) = (.*)  # (.*)");
  std::map<std::string, Line> lines;
  std::istringstream text(output);
  for (std::string line; std::getline(text, line);) {
    std::smatch parts;
    if (std::regex_match(line, parts, pattern)) lines[parts[1]] = {parts[2], parts[3]};
  }
  return lines;
}

// The flags of --help with what stands about each.
inline std::map<std::string, std::string> HelpOfFlags() {
  std::map<std::string, std::string> flags;
  std::istringstream help(RunRetnetd({}, {"--help"}).output);
  std::string* text = nullptr;
  for (std::string line; std::getline(help, line);) {
    std::smatch name;
    if (std::regex_search(line, name, std::regex("^  (?:-\\w, )?--([a-z0-9-]+)"))) {
      text = &flags[name[1]];
    } else if (text != nullptr && line.substr(0, 6) == "      ") {
      *text += line.substr(5);
    }
  }
  return flags;
}

}  // namespace retnet

#endif  // RETNET_TESTS_SERVER_CONFIGURATION_RUNS_H_
