// Command-line options that set fields of a request.
#ifndef RETNET_CLIENT_REQUEST_OPTIONS_H_
#define RETNET_CLIENT_REQUEST_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>

namespace retnet {

// Adds an option that calls `set` only if it is given. Otherwise the server's default applies.
template <typename Value, typename Request>
void AddField(CLI::App* command, const std::string& name, Request* request,
              void (Request::*set)(Value), const std::string& description) {
  command->add_option_function<Value>(
      name, [request, set](const Value& value) { (request->*set)(value); }, description);
}

}  // namespace retnet

#endif  // RETNET_CLIENT_REQUEST_OPTIONS_H_
