// Whatever lies where retnetd expects a file, it says so and ends: it never waits for a writer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tests/models/random_checkpoint.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A copy of the model's folder.
fs::path Copied() {
  const fs::path folder = MakeTemporaryFolder();
  fs::copy(ModelFolder(), folder,
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  return folder;
}

void ExpectRefused(const fs::path& folder, const fs::path& file,
                   const std::vector<std::string>& flags = {}) {
  std::vector<std::string> arguments = {RETNETD_PATH, "--model",     folder,
                                        "--listen",   "127.0.0.1:0", "--device",
                                        "cpu",        "--threads",   "1"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  Process process(arguments);
  EXPECT_EQ(process.Wait(), 1) << process.output();
  EXPECT_THAT(process.error(), HasSubstr(file.string() + ": not a regular file"));
}

const struct {
  const char* name;
  std::function<void(const fs::path&)> make;
} kOddFiles[] = {
    {"fifo", [](const fs::path& path) { ASSERT_EQ(mkfifo(path.c_str(), 0600), 0); }},
    {"link to a device", [](const fs::path& path) { fs::create_symlink("/dev/zero", path); }},
    {"folder", [](const fs::path& path) { fs::create_directory(path); }},
};

TEST(OddFiles, InAModelsFolderAreRefused) {
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors",
                           "tokenizer.model", "tokenizer.json", "tokenizer_config.json"}) {
    for (const auto& odd : kOddFiles) {
      SCOPED_TRACE(std::string(name) + ", a " + odd.name);
      const fs::path folder = Copied();
      fs::remove(folder / name);
      odd.make(folder / name);
      ExpectRefused(folder, folder / name);
      fs::remove_all(folder);
    }
  }
}

TEST(OddFiles, AmongShardsAreRefused) {
  for (const char* name : {"model.safetensors.index.json", "shard.safetensors"}) {
    for (const auto& odd : kOddFiles) {
      SCOPED_TRACE(std::string(name) + ", a " + odd.name);
      const fs::path folder = Copied();
      fs::remove(folder / "model.safetensors");
      std::ofstream(folder / "model.safetensors.index.json")
          << R"({"weight_map": {"model.norm.weight": "shard.safetensors"}})";
      fs::remove(folder / name);
      odd.make(folder / name);
      ExpectRefused(folder, folder / name);
      fs::remove_all(folder);
    }
  }
}

TEST(OddFiles, AsASnapshotKeyAreRefused) {
  for (const auto& odd : kOddFiles) {
    SCOPED_TRACE(odd.name);
    const fs::path folder = MakeTemporaryFolder();
    odd.make(folder / "key");
    ExpectRefused(ModelFolder(), folder / "key", {"--snapshot-key-file", folder / "key"});
    fs::remove_all(folder);
  }
}

}  // namespace
}  // namespace retnet
