#include "client/bench/dataset.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

absl::StatusOr<std::vector<DatasetLine>> Read(const std::string& text) {
  std::istringstream file(text);
  return ReadDataset(&file);
}

TEST(Dataset, HoldsTextsIdsAndLengths) {
  const auto lines = Read(
      "{\"prompt\": \"a wolf\", \"output_len\": 5}\n\n"
      "{\"prompt_token_ids\": [5, 6], \"other\": null}\r\n"
      "{\"input_len\": 70, \"output_len\": 9}");
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_THAT(*lines, SizeIs(3));
  EXPECT_EQ((*lines)[0].text, "a wolf");
  EXPECT_EQ((*lines)[0].output_length, 5);
  EXPECT_THAT((*lines)[1].token_ids, ElementsAre(5, 6));
  EXPECT_FALSE((*lines)[1].output_length.has_value());
  EXPECT_EQ((*lines)[2].input_length, 70);
}

TEST(Dataset, NamesTheLineThatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"{\"prompt\": \"a\"}\n{\"prompt\"}", "line 2: not a JSON object"},
      {"[1]", "line 1: not a JSON object"},
      {"{}", "line 1: one of prompt, prompt_token_ids and input_len must be there"},
      {"{\"prompt\": \"a\", \"input_len\": 3}", "line 1: one of"},
      {"{\"prompt\": \"\"}", "line 1: prompt is not a text"},
      {"{\"prompt_token_ids\": []}", "line 1: prompt_token_ids is no list"},
      {"{\"prompt_token_ids\": [5, -1]}", "line 1: -1 in prompt_token_ids is not an id"},
      {"{\"input_len\": 0}", "line 1: input_len is 0, not a length from 1 on"},
      {"{\"prompt\": \"a\", \"output_len\": 1.5}", "line 1: output_len is 1.5"},
      {"\n \n", "it has no lines"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(std::string(Read(text).status().message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace retnet
