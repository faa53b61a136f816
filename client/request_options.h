// Command-line options that set fields of a request.
#ifndef RETNET_CLIENT_REQUEST_OPTIONS_H_
#define RETNET_CLIENT_REQUEST_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>

namespace retnet {

// Adds an option that calls `set` only if it is given. Otherwise the server's default applies.
// `type` names the value in the help.
template <typename Value, typename Request>
CLI::Option* AddField(CLI::App* command, const std::string& names, Request* request,
                      void (Request::*set)(Value), const std::string& type,
                      const std::string& description) {
  return command
      ->add_option_function<Value>(
          names, [request, set](const Value& value) { (request->*set)(value); }, description)
      ->type_name(type);
}

}  // namespace retnet

#endif  // RETNET_CLIENT_REQUEST_OPTIONS_H_
