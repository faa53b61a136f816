#include "engine/snapshots/safe_name.h"

#include <gtest/gtest.h>

namespace retnet {
namespace {

TEST(SafeName, LeavesNothingThatAFolderOrAPatternMayMean) {
  EXPECT_EQ(SafeName("az-AZ_09"), "az-AZ_09");
  EXPECT_EQ(SafeName("../a:b*"), "%2E%2E%2Fa%3Ab%2A");
  EXPECT_EQ(SafeName(std::string_view("\0\xFF%", 3)), "%00%FF%25");
  EXPECT_EQ(SafeName(""), "");
}

TEST(SafeName, EveryByteComesBack) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(NameOfSafe(SafeName(all)), all);
  EXPECT_EQ(NameOfSafe(""), "");
}

TEST(SafeName, OfAnySpellingButItsOwnThereIsNoName) {
  for (const char* safe : {"a.b", "%2e", "%41", "%", "%2", "%GG", "a/b"}) {
    EXPECT_EQ(NameOfSafe(safe), std::nullopt) << safe;
  }
}

}  // namespace
}  // namespace retnet
