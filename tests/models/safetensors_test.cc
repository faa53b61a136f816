#include "models/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/models/safetensors_writer.h"

namespace retnet {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<StoredTensors> Parse(const std::string& bytes) {
  return ParseSafetensors(std::as_bytes(std::span(bytes)), "dir/x.safetensors");
}

TEST(Safetensors, FindsEveryTensorWhereItLies) {
  const std::string bytes = SafetensorsBytes({{"b", ElementType::kFloat32, {2, 1}, "abcdefgh"},
                                              {"a", ElementType::kBFloat16, {1}, "ij"},
                                              {"empty", ElementType::kFloat16, {0, 7}, ""}});
  const auto tensors = Parse(bytes);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 3);
  const StoredTensor& b = tensors->at("b");
  EXPECT_EQ(b.type, "F32");
  EXPECT_THAT(b.shape, ElementsAre(2, 1));
  EXPECT_EQ(std::memcmp(b.bytes.data(), "abcdefgh", 8), 0);
  EXPECT_EQ(tensors->at("a").bytes.size(), 2);
  EXPECT_EQ(tensors->at("empty").bytes.size(), 0);
}

TEST(Safetensors, ScalarsHaveOneElement) {
  const auto tensors = Parse(SafetensorsBytes({{"s", ElementType::kFloat32, {}, "abcd"}}));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_TRUE(tensors->at("s").shape.empty());
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes = SafetensorsBytes({{"a", ElementType::kFloat32, {2}, "abcdefgh"}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto tensors = Parse(bytes.substr(0, size));
    ASSERT_EQ(tensors.status().code(), absl::StatusCode::kInvalidArgument) << size;
    EXPECT_THAT(std::string(tensors.status().message()), HasSubstr("dir/x.safetensors"));
  }
}

struct Bad {
  std::string header;
  std::string data;
  std::string tensor;
  std::string message;
};

class BadSafetensors : public ::testing::TestWithParam<Bad> {};

TEST_P(BadSafetensors, IsRefusedNamingFileAndTensor) {
  const auto tensors = Parse(SafetensorsBytes(GetParam().header, GetParam().data));
  EXPECT_EQ(tensors.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tensors.status().message()),
              AllOf(HasSubstr("dir/x.safetensors"), HasSubstr(GetParam().tensor),
                    HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Safetensors, BadSafetensors,
    ::testing::Values(
        Bad{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
            R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
            "123456", "tensor b", "overlap"},
        Bad{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
            R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
            "1234", "tensor", "overlap"},
        Bad{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
            R"("b":{"dtype":"F32","shape":[1],"data_offsets":[5,9]}})",
            "123456789", "tensor b", "1 bytes before it belong to no tensor"},
        Bad{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345", "",
            "the last 1 bytes belong to no tensor"},
        Bad{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234", "tensor a",
            "need 8"},
        Bad{R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234", "tensor a",
            "outside"},
        Bad{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "1234", "tensor a",
            "outside"},
        Bad{R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", "1234",
            "tensor a", "larger than any file"},
        Bad{R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234", "tensor a",
            "shape"},
        Bad{R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", "1234",
            "tensor a", "shape"},
        Bad{R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", "1234", "tensor a", "shape"},
        Bad{R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}})", "1234", "tensor a",
            "dtype \"F4\""},
        Bad{R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", "1234", "tensor a", "dtype 7"},
        Bad{R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", "1234", "tensor a", "pair"},
        Bad{R"({"a":{"dtype":"F32","shape":[1]}})", "", "tensor a", "data_offsets"},
        Bad{R"({"a":3})", "", "tensor a", "dtype, shape and data_offsets"},
        Bad{R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
            R"("a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})",
            "", "\"a\"", "appears twice"},
        Bad{R"({"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}})", "1234",
            "\"dtype\"", "appears twice"},
        Bad{R"([])", "", "", "expected a JSON object"}, Bad{R"({"a":)", "", "", "not valid JSON"},
        Bad{"", "", "", "not valid JSON"}));

TEST(Safetensors, AHugeHeaderIsRefusedBeforeItIsRead) {
  std::string bytes = SafetensorsBytes("{}", "");
  bytes[7] = '\x7f';
  const auto tensors = Parse(bytes);
  EXPECT_THAT(std::string(tensors.status().message()), HasSubstr("supported: 100000000"));
}

}  // namespace
}  // namespace retnet
