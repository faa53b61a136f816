#include "server/identity/token_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/identity/certificates.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

const std::string kSalt(32, 'a');
const std::string kHash(64, 'b');

mode_t ModeOf(const std::string& path) {
  struct stat file = {};
  EXPECT_EQ(stat(path.c_str(), &file), 0);
  return file.st_mode & 07777;
}

TEST(TokenFile, ReadsTokensAndLimits) {
  const auto file = ParseTokenFile(absl::StrCat(
      "# a comment\n\n  token alice 01 ", kSalt, " ", kHash, "\r\n",
      "limits alice weight=2.5 requests=8 tokens-per-minute=60000 max-priority=-3\n",
      "token spiffe://host/bob 02 ", kSalt, " ", kHash, "\nlimits carol requests=1\n"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_THAT(file->tokens, SizeIs(2));
  EXPECT_EQ(file->tokens[0].principal, "alice");
  EXPECT_EQ(file->tokens[0].id, "01");
  EXPECT_EQ(file->tokens[0].salt[3], 0xaa);
  EXPECT_EQ(file->tokens[0].hash[31], 0xbb);
  EXPECT_EQ(file->tokens[1].principal, "spiffe://host/bob");
  EXPECT_EQ(file->limits.at("alice"), (PrincipalLimits{2.5, 8, 60000, -3}));
  EXPECT_EQ(file->limits.at("carol"), (PrincipalLimits{1.0, 1, 0, std::nullopt}));
  EXPECT_EQ(DescribeLimits(file->limits.at("alice")),
            "weight=2.5 requests=8 tokens-per-minute=60000 max-priority=-3");
}

TEST(TokenFile, NamesTheLineThatIsWrong) {
  const std::string good = absl::StrCat("token alice 01 ", kSalt, " ", kHash);
  struct Case {
    std::string line;
    std::string error;
  };
  for (const Case& wrong : {
           Case{"alice 01", "it must be: token NAME ID SALT HASH"},
           Case{"token alice 02", "it must be: token NAME ID SALT HASH"},
           Case{good, "the token id 01 comes twice"},
           Case{absl::StrCat("token alice 0.2 ", kSalt, " ", kHash), "has a dot"},
           Case{absl::StrCat("token al\"ice 02 ", kSalt, " ", kHash), "the principal's name"},
           Case{absl::StrCat("token ", std::string(129, 'x'), " 02 ", kSalt, " ", kHash),
                "has 129 bytes; it must have 1 to 128"},
           Case{absl::StrCat("token alice 02 ", kSalt, "a ", kHash), "the salt is not 32 digits"},
           Case{absl::StrCat("token alice 02 ", kSalt, " ", kSalt), "the hash is not 64 digits"},
           Case{absl::StrCat("token alice 02 ", std::string(32, 'g'), " ", kHash), "the salt"},
           Case{"limits alice", "limits NAME KEY=VALUE"},
           Case{"limits alice weight=0", "weight is \"0\"; it must be a number from 0.001"},
           Case{"limits alice weight=nan", "weight is \"nan\""},
           Case{"limits alice requests=0", "requests is \"0\""},
           Case{"limits alice requests=1x", "requests is \"1x\""},
           Case{"limits alice tokens-per-minute=-1", "tokens-per-minute is \"-1\""},
           Case{"limits alice max-priority=", "max-priority is \"\""},
           Case{"limits alice speed=1", "there is no limit \"speed\""},
       }) {
    const auto file = ParseTokenFile(absl::StrCat(good, "\n\n", wrong.line, "\n"));
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << wrong.line;
    EXPECT_THAT(file.status().message(), HasSubstr("line 3: ")) << wrong.line;
    EXPECT_THAT(file.status().message(), HasSubstr(wrong.error)) << wrong.line;
  }
  EXPECT_THAT(ParseTokenFile("limits a weight=1\nlimits a weight=2\n").status().message(),
              HasSubstr("line 2: the limits of a come twice"));
}

TEST(TokenFile, RefusesWhatIsNotARegularFile) {
  const std::string folder = NewFolder();
  EXPECT_FALSE(ReadTokenFile(folder).ok());
  EXPECT_FALSE(ReadTokenFile(folder + "/none").ok());
  ASSERT_EQ(mkfifo((folder + "/fifo").c_str(), 0600), 0);
  EXPECT_FALSE(ReadTokenFile(folder + "/fifo").ok());
  EXPECT_FALSE(AddToken(folder + "/fifo", "alice", std::nullopt).ok());
}

TEST(TokenFile, GetsNewTokensAndKeepsWhatIsThere) {
  const std::string path = NewFolder() + "/tokens";
  const auto first = AddToken(path, "alice", PrincipalLimits{2.0, 5, 0, std::nullopt});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(ModeOf(path), 0600);
  // What the file's owner has made of it stays.
  WriteText(path, ReadText(path) + "# a note, without a newline after it");
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  const auto second = AddToken(path, "bob", std::nullopt);
  ASSERT_TRUE(second.ok()) << second.status();
  const auto third = AddToken(path, "alice", PrincipalLimits{3.0, 0, 0, std::nullopt});
  EXPECT_EQ(ModeOf(path), 0640);
  EXPECT_THAT(ReadText(path), HasSubstr("# a note, without a newline after it\n"));

  const auto file = ReadTokenFile(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_THAT(file->tokens, SizeIs(3));
  EXPECT_EQ(file->limits.at("alice"), (PrincipalLimits{3.0, 0, 0, std::nullopt}));
  EXPECT_THAT(file->limits, SizeIs(1));
  std::set<std::string> secrets;
  const std::vector<std::string> tokens = {*first, *second, *third};
  for (size_t i = 0; i < tokens.size(); ++i) {
    const size_t dot = tokens[i].find('.');
    const std::string secret = tokens[i].substr(dot + 1);
    EXPECT_EQ(tokens[i].substr(0, dot), file->tokens[i].id);
    EXPECT_EQ(HashSecret(file->tokens[i].salt, secret), file->tokens[i].hash);
    EXPECT_EQ(secret.size(), kSecretDigits);
    EXPECT_EQ(ReadText(path).find(secret), std::string::npos);
    secrets.insert(secret);
  }
  EXPECT_THAT(secrets, SizeIs(3));
}

TEST(TokenFile, IsNotTouchedByATokenThatCannotBeAdded) {
  const std::string path = NewFolder() + "/tokens";
  WriteText(path, "not a file of tokens\n");
  EXPECT_FALSE(AddToken(path, "alice", std::nullopt).ok());
  EXPECT_EQ(ReadText(path), "not a file of tokens\n");
  WriteText(path, "");
  EXPECT_FALSE(AddToken(path, "two words", std::nullopt).ok());
  EXPECT_EQ(ReadText(path), "");
}

TEST(TokenFile, IsReplacedBehindALinkToIt) {
  const std::string folder = NewFolder();
  WriteText(folder + "/file", "");
  std::filesystem::create_symlink(folder + "/file", folder + "/link");
  ASSERT_TRUE(AddToken(folder + "/link", "alice", std::nullopt).ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder + "/link"));
  EXPECT_THAT(ReadTokenFile(folder + "/file")->tokens, SizeIs(1));
}

TEST(TokenFile, LosesNoTokenOfTwoThatAreMadeAtOnce) {
  const std::string path = NewFolder() + "/tokens";
  const auto add = [&path](const std::string& name) {
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(AddToken(path, name, std::nullopt).ok());
  };
  std::thread other(add, "alice");
  add("bob");
  other.join();
  EXPECT_THAT(ReadTokenFile(path)->tokens, SizeIs(40));
}

TEST(HashSecret, IsSha256OfSaltAndSecret) {
  Salt salt = {};
  salt.fill('s');
  // printf ssssssssssssssssabc | sha256sum
  const Sha256 hash = HashSecret(salt, "abc");
  EXPECT_EQ(absl::BytesToHexString({reinterpret_cast<const char*>(hash.data()), hash.size()}),
            "8c95e8e0f31679947d905dd24d0388d6286b9b4233895ce06a181d9f0a57830f");
}

}  // namespace
}  // namespace retnet
