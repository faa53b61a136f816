#include "tests/server/identity/certificates.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace retnet {
namespace {

void Run(const std::string& command) {
  EXPECT_EQ(std::system(absl::StrCat(command, " 2>/dev/null").c_str()), 0) << command;
}

// A path in `folder` that no file has yet.
std::string NewPath(const std::string& folder, const std::string& end) {
  static int made = 0;
  return absl::StrCat(folder, "/", ++made, end);
}

std::string NewKey(const std::string& folder) {
  std::string path = NewPath(folder, ".key");
  Run(absl::StrCat("openssl ecparam -name prime256v1 -genkey -noout -out ", path));
  return path;
}

}  // namespace

std::string NewFolder() {
  std::string folder = ::testing::TempDir() + "identity_XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  return folder;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  EXPECT_TRUE(file << text << std::flush) << path;
}

TestAuthority::TestAuthority() : folder_(NewFolder()) {
  ca_.key = NewKey(folder_);
  ca_.certificate = NewPath(folder_, ".pem");
  Run(absl::StrCat("openssl req -x509 -new -key ", ca_.key, " -days 30 -subj /CN=authority -out ",
                   ca_.certificate));
}

CertificateFiles TestAuthority::Sign(const std::string& subject, const std::string& names,
                                     int days) const {
  CertificateFiles files{.certificate = NewPath(folder_, ".pem"), .key = NewKey(folder_)};
  const std::string request = NewPath(folder_, ".csr");
  Run(absl::StrCat("openssl req -new -key ", files.key, " -subj '", subject, "' -out ", request));
  std::string extensions;
  if (!names.empty()) {
    const std::string path = NewPath(folder_, ".ext");
    WriteText(path, absl::StrCat("subjectAltName=", names, "\n"));
    extensions = absl::StrCat(" -extfile ", path);
  }
  Run(absl::StrCat("openssl x509 -req -in ", request, " -CA ", ca_.certificate, " -CAkey ", ca_.key,
                   " -CAcreateserial -days ", days, extensions, " -out ", files.certificate));
  return files;
}

}  // namespace retnet
