// Where the options of a program come from: the command line, the environment, a file, or their
// defaults, in this order of precedence.
//
// Each option --some-name that is configurable() is also the variable RETNET_SOME_NAME and the key
// some-name of the file. Its other names are no variables, but keys. A list has commas between its
// values in the environment. An empty value is no value, as if it were not there.
#ifndef RETNET_SERVER_CONFIGURATION_H_
#define RETNET_SERVER_CONFIGURATION_H_

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

namespace retnet {

// A flag that has another name since the release before. Names begin with "--".
struct RenamedFlag {
  const char* old_name;
  const char* new_name;
};

struct Configuration {
  // Where each option that was set has its value from: "command line", "environment" and the
  // variable, or "file" and its path.
  std::map<const CLI::Option*, std::string> origins;
  std::string file;                   // the path of --config; empty: none
  std::vector<std::string> warnings;  // variables RETNET_… that are nobody's
};

// Parses the command line `arguments`, in their order, with what environment and file add to it.
// The file is the one that the option --config of `app` names. Throws CLI::ParseError for the help,
// the version and every error. It names the origin of a value that is wrong, and the nearest key
// of a key that is unknown.
Configuration ParseConfiguration(const std::vector<std::string>& arguments,
                                 const std::vector<RenamedFlag>& renamed, CLI::App* app);

// A file that says what an app that has been parsed will run with, each line with its origin in a
// comment. The lines of defaults are comments. Passwords of URLs are replaced by ***.
std::string WrittenConfiguration(const CLI::App& app, const Configuration& configuration);

// A URL without its password: redis://user:***@host. Any other text is unchanged.
std::string WithoutPassword(const std::string& text);

}  // namespace retnet

#endif  // RETNET_SERVER_CONFIGURATION_H_
