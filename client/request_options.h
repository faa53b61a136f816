// Command-line options that set fields of a request.
#ifndef RETNET_CLIENT_REQUEST_OPTIONS_H_
#define RETNET_CLIENT_REQUEST_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <string>
#include <type_traits>

namespace retnet {

// Accepts a whole number in decimal digits that T holds. CLI11 alone takes one beyond it as another
// number.
template <typename T>
CLI::Validator WholeNumber() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        T value;
        const char* const end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc() && rest == end) return "";
        return text + " must be a whole number from " +
               std::to_string(std::numeric_limits<T>::min()) + " to " +
               std::to_string(std::numeric_limits<T>::max());
      },
      "");
}

// Adds an option that calls `set` only if it is given. Otherwise the server's default applies.
// `type` names the value in the help.
template <typename Value, typename Request>
CLI::Option* AddField(CLI::App* command, const std::string& names, Request* request,
                      void (Request::*set)(Value), const std::string& type,
                      const std::string& description) {
  CLI::Option* option =
      command
          ->add_option_function<Value>(
              names, [request, set](const Value& value) { (request->*set)(value); }, description)
          ->type_name(type);
  if constexpr (std::is_integral_v<Value>) option->check(WholeNumber<Value>());
  return option;
}

}  // namespace retnet

#endif  // RETNET_CLIENT_REQUEST_OPTIONS_H_
