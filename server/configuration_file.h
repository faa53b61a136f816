// Reads and writes the lines KEY = VALUE of a configuration file: TOML or INI without sections.
#ifndef RETNET_SERVER_CONFIGURATION_FILE_H_
#define RETNET_SERVER_CONFIGURATION_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace retnet {

// A key and its values. A list has any number of them, every other setting one. A key without a
// value is "true".
struct FileItem {
  std::string key;
  std::vector<std::string> values;
};

// The items of a file in its order; empty values are left out. INVALID_ARGUMENT names the line that
// is not one of KEY = VALUE. A key is not known here, so any is right.
absl::StatusOr<std::vector<FileItem>> ParseConfigurationFile(const std::string& text);

// KEY = VALUE, or a list of several, which ParseConfigurationFile reads back. INVALID_ARGUMENT for
// a value that no line can hold: one with a newline, or with both kinds of quotes and a space.
absl::StatusOr<std::string> ConfigurationLine(const FileItem& item);

}  // namespace retnet

#endif  // RETNET_SERVER_CONFIGURATION_FILE_H_
