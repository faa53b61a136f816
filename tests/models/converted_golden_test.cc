// Logits of a converted torchscale checkpoint against torchscale's own.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/models/golden.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

// `file` is torchscale's, with the logits of `golden`.
void ExpectLogits(const std::string& file, const std::string& golden, double bound) {
  const std::string out = MakeTemporaryFolder();
  const std::string command = "/usr/bin/python3 " + std::string(RETNET_SOURCE_DIR) +
                              "/models/convert.py " + file + " " + out;
  ASSERT_EQ(std::system(command.c_str()), 0);
  for (const Backend& backend : Backends()) {
    SCOPED_TRACE(backend.name);
    TestModel model = backend.make(out, /*slots=*/1, /*max_rows=*/512);
    for (const GoldenSequence& sequence : ReadGolden(golden)) {
      EXPECT_LE(CompareWithGolden(model.Run(0, sequence.tokens, 100), sequence).max, bound);
      ASSERT_TRUE(model->Clear(0).ok());
    }
  }
}

TEST(ConvertedGolden, LogitsAreTorchscales) {
  ExpectLogits(GoldenFolder("torchscale") + "/checkpoint.pt", "torchscale", 2e-4);
}

// Without normalized_retention they are 1.4e-2 off.
TEST(ConvertedGolden, SmallRetentionIsTorchscales) {
  ExpectLogits(GoldenFolder("syncdoth-init") + "/torchscale.pt", "syncdoth-init", 2e-5);
}

}  // namespace
}  // namespace retnet
