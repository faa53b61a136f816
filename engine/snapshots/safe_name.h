// Names of strangers' choosing inside file names and keys.
#ifndef RETNET_ENGINE_SNAPSHOTS_SAFE_NAME_H_
#define RETNET_ENGINE_SNAPSHOTS_SAFE_NAME_H_

#include <optional>
#include <string>
#include <string_view>

namespace retnet {

// Percent-encoded: letters, digits, - and _ stand for themselves, every other byte is %XX. No two
// names give the same, and none gives a dot, a slash, a colon, a wildcard or a NUL.
std::string SafeName(std::string_view name);
// The name that gives exactly this; none where there is no such name.
std::optional<std::string> NameOfSafe(std::string_view safe);

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SAFE_NAME_H_
