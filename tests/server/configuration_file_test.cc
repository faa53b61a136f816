// What a file says is what is read, and what no line can say is refused: nothing is read as
// something else.
#include "server/configuration_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> ValuesIn(const std::string& line) {
  const absl::StatusOr<std::vector<FileItem>> items = ParseConfigurationFile(line);
  EXPECT_TRUE(items.ok()) << items.status().ToString();
  if (!items.ok() || items->size() != 1) return {"not one item"};
  EXPECT_EQ(items->front().key, "key");
  return items->front().values;
}

TEST(ConfigurationFile, ReadsValuesAsTheyAreMeant) {
  EXPECT_THAT(ValuesIn("key = value"), ElementsAre("value"));
  EXPECT_THAT(ValuesIn("  key=value  # comment"), ElementsAre("value"));
  EXPECT_THAT(ValuesIn("\xEF\xBB\xBFkey = value\r\n"), ElementsAre("value"));
  EXPECT_THAT(ValuesIn("# comment\n; comment [\n\nkey = 'it is # one'"),
              ElementsAre("it is # one"));
  EXPECT_THAT(ValuesIn("\"key\" = \"a, b c\""), ElementsAre("a, b c"));
  EXPECT_THAT(ValuesIn("key = it's"), ElementsAre("it's"));
  EXPECT_THAT(ValuesIn("key = \"[::1]:50051\""), ElementsAre("[::1]:50051"));
  EXPECT_THAT(ValuesIn("key = a=b"), ElementsAre("a=b"));
  EXPECT_THAT(ValuesIn("key"), ElementsAre("true"));
  EXPECT_THAT(ValuesIn("key = \"\""), ElementsAre());
  EXPECT_THAT(ValuesIn("key ="), ElementsAre());
}

TEST(ConfigurationFile, ReadsLists) {
  EXPECT_THAT(ValuesIn("key = [\"a\", 'b, c' , d]"), ElementsAre("a", "b, c", "d"));
  EXPECT_THAT(ValuesIn("key = [ # first\n  \"a#\", # second\n  \"b]\",\n]  # end"),
              ElementsAre("a#", "b]"));
  EXPECT_THAT(ValuesIn("key = a\nkey = b"), ElementsAre("a", "b"));
  EXPECT_THAT(ValuesIn("key = []"), ElementsAre());
}

TEST(ConfigurationFile, RefusesWhatItWouldReadAsSomethingElse) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a = 1\n[section]\nb = 2", "line 2: there are no sections"},
      {"key = [::1]:50051", "line 1: a value that begins with [ is a list; put quotes around it"},
      {"a = 1\nkey = [b,\nc = 2\n", "line 2: the list that begins here has no ]"},
      {"key = \"value", "line 1: a quote is not closed"},
      {"key = ['a', 'b]", "line 1: a quote is not closed"},
      {"\n\na", "line 3: it must be KEY = VALUE"},
      {std::string("key = a\0b", 9), "line 1: control characters"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(ParseConfigurationFile(text).status().message(), HasSubstr(message)) << text;
  }
}

TEST(ConfigurationFile, ReadsBackEveryLineThatItWrites) {
  const std::string characters = "a \"'#,=[]\\;`.-{}7";
  for (const char first : characters) {
    for (const char second : characters) {
      for (const char third : characters) {
        const std::string value = {first, second, third};
        for (const std::vector<std::string>& values :
             {std::vector<std::string>{value}, {value, "b"}, {"b", value}}) {
          const absl::StatusOr<std::string> line = ConfigurationLine({"key", values});
          if (line.ok()) {
            EXPECT_EQ(ValuesIn(*line), values) << *line;
          } else {
            // Only what quotes of either kind, or a backslash before one, keep from being written.
            EXPECT_NE(value.find_first_of("\"'\\"), value.npos) << value;
          }
        }
      }
    }
  }
  EXPECT_EQ(ConfigurationLine({"key", {"a b"}}).value(), "key = \"a b\"");
  EXPECT_EQ(ConfigurationLine({"key", {"-1.5e-3"}}).value(), "key = -1.5e-3");
  EXPECT_EQ(ConfigurationLine({"key", {"C:\\new"}}).value(), "key = 'C:\\new'");
  EXPECT_EQ(ConfigurationLine({"key", {"a", "7"}}).value(), "key = [\"a\", 7]");
  EXPECT_FALSE(ConfigurationLine({"key", {"a\nb"}}).ok());
}

}  // namespace
}  // namespace retnet
