#include "server/ops/load_progress_line.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Shown {
  explicit Shown(bool terminal)
      : line("m", terminal, begun, [this](std::string_view text) { texts.emplace_back(text); }) {}
  void After(double seconds, int64_t bytes) {
    line.Show({"checking weights", bytes, 200}, begun + absl::Seconds(seconds));
  }

  const absl::Time begun = absl::UnixEpoch();
  std::vector<std::string> texts;
  LoadProgressLine line;
};

TEST(LoadProgressLine, SaysNothingOfWhatIsFast) {
  Shown shown(/*terminal=*/true);
  shown.After(0.0, 0);
  shown.After(0.19, 200);
  shown.line.End();
  EXPECT_THAT(shown.texts, IsEmpty());
}

TEST(LoadProgressLine, DrawsABarOnATerminal) {
  Shown shown(/*terminal=*/true);
  shown.After(0.2, 100);
  shown.After(0.25, 110);
  shown.After(0.3, 200);
  shown.line.End();
  shown.line.End();
  EXPECT_THAT(shown.texts,
              ElementsAre("\r[###############...............] loading m: checking weights, 50 % "
                          "after 0.2 s\033[K",
                          "\r[##############################] loading m: checking weights, 100 % "
                          "after 0.3 s\033[K",
                          "\n"));
}

TEST(LoadProgressLine, LogsALineFromTimeToTime) {
  Shown shown(/*terminal=*/false);
  shown.After(0.3, 2);
  shown.After(5.2, 50);
  shown.After(5.3, 60);
  shown.line.End();
  EXPECT_THAT(shown.texts, ElementsAre("loading m: checking weights, 1 % after 0.3 s",
                                       "loading m: checking weights, 30 % after 5.3 s"));
}

}  // namespace
}  // namespace retnet
