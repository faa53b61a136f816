// Logits of a converted torchscale checkpoint against torchscale's own.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/models/golden.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/test_model.h"

namespace retnet {
namespace {

TEST(ConvertedGolden, LogitsAreTorchscales) {
  const std::string out = MakeTemporaryFolder();
  const std::string command = "/usr/bin/python3 " + std::string(RETNET_SOURCE_DIR) +
                              "/models/convert.py " + GoldenFolder("torchscale") +
                              "/checkpoint.pt " + out;
  ASSERT_EQ(std::system(command.c_str()), 0);
  for (const Backend& backend : Backends()) {
    SCOPED_TRACE(backend.name);
    TestModel model = backend.make(out, /*slots=*/1, /*max_rows=*/512);
    for (const GoldenSequence& sequence : ReadGolden("torchscale")) {
      EXPECT_LE(CompareWithGolden(model.Run(0, sequence.tokens, 100), sequence).max, 2e-4);
      ASSERT_TRUE(model->Clear(0).ok());
    }
  }
}

}  // namespace
}  // namespace retnet
