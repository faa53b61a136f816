#include "kernels/cuda/matmul/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/reference/reference_kernels.h"
#include "tests/kernels/matmul_cases.h"

namespace retnet::cuda {
namespace {

constexpr int32_t kMaxRows = 80;
constexpr float kEpsilon = 1e-5f;

enum class Operator { kNormMatMul, kMatMulAdd, kSilu, kGelu };
constexpr Operator kOperators[] = {Operator::kNormMatMul, Operator::kMatMulAdd, Operator::kSilu,
                                   Operator::kGelu};

bool IsGated(Operator op) { return op == Operator::kSilu || op == Operator::kGelu; }

DeviceArray<float> ToDevice(const std::vector<float>& values) {
  auto array = DeviceArray<float>::Make(static_cast<int64_t>(values.size()));
  EXPECT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(cudaMemcpy(array->data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice),
            cudaSuccess);
  return *std::move(array);
}

std::vector<float> ToHost(const DeviceArray<float>& array) {
  std::vector<float> values(array.size());
  EXPECT_EQ(cudaMemcpy(values.data(), array.data(), values.size() * 4, cudaMemcpyDeviceToHost),
            cudaSuccess);
  return values;
}

// Multiples of 1/4 from -2 to 2: exact in every type, and so is their product with a power of two.
std::vector<float> Quarters(int64_t count, std::mt19937& random) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<int>(random() % 17) - 8) / 4;
  return values;
}

std::vector<float> PowersOfTwo(int64_t count, std::mt19937& random) {
  std::vector<float> values(count);
  for (float& value : values) {
    value = std::ldexp(random() % 2 == 0 ? 1.0f : -1.0f, static_cast<int>(random() % 4));
  }
  return values;
}

// The operands of one matrix product, on the host. y has `outputs` columns. The kernel of sampled
// rows rounds x · norm weight, which is exact here, so that its errors are only those of fp32 sums.
struct Operands {
  Operands(Operator op, ElementType type, int64_t rows, int64_t inputs, int64_t outputs,
           std::mt19937& random)
      : op(op),
        rows(rows),
        inputs(inputs),
        outputs(outputs),
        first(type, outputs, inputs, random),
        second(type, outputs, inputs, random),
        x(Quarters(rows * inputs, random)),
        y(RandomFloats(rows * outputs, random)),
        norm_weight(PowersOfTwo(inputs, random)) {}

  // Gate and up, or two tensors with different numbers of rows, stacked into one weight.
  std::vector<HostTensor> Tensors() const {
    if (IsGated(op)) return {first.view, second.view};
    HostTensor upper = first.view, lower = first.view;
    upper.rows = (outputs + 3) / 4;
    lower.rows = outputs - upper.rows;
    lower.data += upper.rows * inputs * SizeOf(upper.type);
    return lower.rows > 0 ? std::vector{upper, lower} : std::vector{upper};
  }

  Operator op;
  int64_t rows, inputs, outputs;
  RandomTensor first, second;
  std::vector<float> x, y;
  std::vector<float> norm_weight;  // empty: the norm has none
};

std::vector<float> Expected(const Operands& in) {
  ReferenceKernels kernels;
  const auto x = *kernels.Upload(in.x), norm = *kernels.Upload(in.norm_weight);
  const auto y = *kernels.Upload(in.y);
  const auto weight = *kernels.Pack(in.Tensors());
  const MatrixView<const float> from(x.data(), in.rows, in.inputs);
  const MatrixView<float> to(y.data(), in.rows, in.outputs);
  const Norm with{in.norm_weight.empty() ? nullptr : norm.data(), kEpsilon};
  switch (in.op) {
    case Operator::kNormMatMul:
      kernels.NormMatMul(from, with, weight, to);
      break;
    case Operator::kMatMulAdd:
      kernels.MatMulAdd(from, weight, to);
      break;
    case Operator::kSilu:
      kernels.NormGatedMatMul(from, with, weight, Activation::kSilu, to);
      break;
    case Operator::kGelu:
      kernels.NormGatedMatMul(from, with, weight, Activation::kGelu, to);
      break;
  }
  return {y.data(), y.data() + in.y.size()};
}

// The greatest error relative to the root mean square of the results, if the normed rows are
// rounded to the 24, 11 or 8 bits of the weight. NormGatedMatMul multiplies two such results, each
// of which may be several times as large as usual.
double RoundedBound(Operator op, ElementType type) {
  const double bound = type == ElementType::kFloat32   ? 1e-5
                       : type == ElementType::kFloat16 ? 3e-3
                                                       : 2e-2;
  return IsGated(op) ? 5 * bound : bound;
}
constexpr double kExactBound = 2e-5;

void ExpectNear(const std::vector<float>& got, const std::vector<float>& expected, double bound) {
  ASSERT_EQ(got.size(), expected.size());
  double squares = 0, worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    squares += double{expected[i]} * expected[i];
    const double error = std::abs(double{got[i]} - expected[i]);
    worst = error <= worst ? worst : error;  // NaN becomes the worst and stays
  }
  EXPECT_LE(worst, bound * std::sqrt(squares / static_cast<double>(got.size())));
}

class CudaMatMulTest : public testing::TestWithParam<ElementType> {
 protected:
  void SetUp() override {
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    auto matmul = CudaMatMul::Make(stream_, kMaxRows);
    ASSERT_TRUE(matmul.ok()) << matmul.status();
    matmul_.emplace(*std::move(matmul));
  }
  void TearDown() override {
    matmul_.reset();
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
  }

  CudaWeight Pack(const Operands& in) {
    auto weight = matmul_->Pack(in.Tensors());
    EXPECT_TRUE(weight.ok()) << weight.status();
    return *std::move(weight);
  }

  void Launch(Operator op, MatrixView<const float> x, const float* norm_weight,
              const CudaWeight& weight, int32_t sampled_rows, MatrixView<float> y) {
    const Norm norm{norm_weight, kEpsilon};
    switch (op) {
      case Operator::kNormMatMul:
        return matmul_->NormMatMul(x, norm, weight, sampled_rows, y);
      case Operator::kMatMulAdd:
        return matmul_->MatMulAdd(x, weight, sampled_rows, y);
      case Operator::kSilu:
        return matmul_->NormGatedMatMul(x, norm, weight, Activation::kSilu, sampled_rows, y);
      case Operator::kGelu:
        return matmul_->NormGatedMatMul(x, norm, weight, Activation::kGelu, sampled_rows, y);
    }
  }

  // Rows [first, first + rows) of the operands, computed together.
  std::vector<float> Run(const Operands& in, const CudaWeight& weight, int64_t first, int64_t rows,
                         int32_t sampled_rows) {
    const DeviceArray<float> x = ToDevice(in.x), norm_weight = ToDevice(in.norm_weight);
    const DeviceArray<float> y = ToDevice(in.y);
    const MatrixView<float> all(y.data(), in.rows, in.outputs);
    Launch(in.op, MatrixView<const float>(x.data(), in.rows, in.inputs).Rows(first, rows),
           norm_weight.data(), weight, sampled_rows, all.Rows(first, rows));
    EXPECT_TRUE(matmul_->status().ok()) << matmul_->status();
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    const std::vector<float> result = ToHost(y);
    return {result.begin() + first * in.outputs, result.begin() + (first + rows) * in.outputs};
  }

  cudaStream_t stream_ = nullptr;
  std::optional<CudaMatMul> matmul_;
  std::mt19937 random_{31};
};

TEST_P(CudaMatMulTest, BothClassesAgreeWithTheReferenceForAnyShape) {
  struct {
    int64_t rows, inputs, outputs;
  } const shapes[] = {{1, 1, 1},      {3, 17, 33},    {7, 33, 17},   {8, 256, 64},
                      {16, 300, 100}, {17, 64, 96},   {33, 96, 20},  {65, 31, 47},
                      {5, 1025, 48},  {2, 1300, 130}, {80, 192, 132}};
  for (const auto& [rows, inputs, outputs] : shapes) {
    for (const Operator op : kOperators) {
      const Operands in(op, GetParam(), rows, inputs, outputs, random_);
      const CudaWeight weight = Pack(in);
      const std::vector<float> expected = Expected(in);
      for (const int64_t sampled : {rows, int64_t{0}, rows / 2}) {
        SCOPED_TRACE(testing::Message()
                     << "operator " << static_cast<int>(op) << ", " << rows << " rows, " << sampled
                     << " of them sampled, " << inputs << " -> " << outputs);
        ExpectNear(Run(in, weight, 0, rows, static_cast<int32_t>(sampled)), expected,
                   sampled == rows ? kExactBound : RoundedBound(op, GetParam()));
      }
    }
  }
}

TEST_P(CudaMatMulTest, ARowHasTheSameBitsAloneAndAmongAnyNumberOfItsClass) {
  const int64_t rows = 72;
  for (const Operator op : kOperators) {
    Operands in(op, GetParam(), rows, /*inputs=*/1100, /*outputs=*/75, random_);
    in.x = RandomFloats(rows * in.inputs, random_);
    const CudaWeight weight = Pack(in);
    for (const bool sampled : {true, false}) {
      const std::vector<float> all = Run(in, weight, 0, rows, sampled ? rows : 0);
      for (int32_t count : {1, 2, 8, 9, 16, 17, 32, 33, 64, 65}) {
        int64_t first = static_cast<int64_t>(random_() % (rows - count + 1));
        // cuBLASLt does not promise that rows are independent of their number. Its emulation
        // without a GPU rounds four fp32 rows together differently from fewer rows.
        if (!sampled && GetParam() == ElementType::kFloat32) {
          first = first / 4 * 4;
          count = (count + 3) / 4 * 4;
        }
        const std::vector<float> some = Run(in, weight, first, count, sampled ? count : 0);
        ASSERT_EQ(std::memcmp(some.data(), &all[first * in.outputs], some.size() * 4), 0)
            << count << (sampled ? " sampled" : " prompt") << " rows from " << first
            << ", operator " << static_cast<int>(op);
      }
    }
  }
}

TEST_P(CudaMatMulTest, ViewsOfWiderMatricesGiveTheSameBitsAndStayWithinTheirColumns) {
  const int64_t rows = 12, inputs = 530, outputs = 40;
  for (const Operator op : kOperators) {
    const Operands in(op, GetParam(), rows, inputs, outputs, random_);
    const CudaWeight weight = Pack(in);
    const std::vector<float> expected = Run(in, weight, 0, rows, rows);
    // Odd strides and offsets: no row is aligned, and cuBLASLt does not get such a y.
    const int64_t x_stride = inputs + 4, y_stride = outputs + 7;
    std::vector<float> wide_x(rows * x_stride, NAN), wide_y(rows * y_stride, 5.0f);
    std::vector<float> norm_weight(1, NAN);
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(&in.x[i * inputs], inputs, &wide_x[i * x_stride + 1]);
      std::copy_n(&in.y[i * outputs], outputs, &wide_y[i * y_stride + 3]);
    }
    norm_weight.insert(norm_weight.end(), in.norm_weight.begin(), in.norm_weight.end());
    const DeviceArray<float> x = ToDevice(wide_x), norm = ToDevice(norm_weight);
    const DeviceArray<float> y = ToDevice(wide_y);
    // NormGatedMatMul of prompt rows goes through aligned scratch, so cuBLASLt always gets it.
    Launch(op, {x.data() + 1, rows, inputs, x_stride}, norm.data() + 1, weight,
           IsGated(op) ? rows : rows / 2, {y.data() + 3, rows, outputs, y_stride});
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    const std::vector<float> got = ToHost(y);
    for (int64_t i = 0; i < rows; ++i) {
      EXPECT_EQ(std::memcmp(&got[i * y_stride + 3], &expected[i * outputs], outputs * 4), 0) << i;
      for (const int64_t beside : {0, 1, 2, 43, 44, 45, 46}) {
        EXPECT_EQ(got[i * y_stride + beside], 5.0f) << i << ", " << beside;
      }
    }
  }
}

TEST_P(CudaMatMulTest, TheNormTakesNumbersFarFromOneAndNeedsNoWeight) {
  for (const float magnitude : {1e-6f, 1e6f}) {
    Operands in(Operator::kNormMatMul, GetParam(), 3, /*inputs=*/640, /*outputs=*/24, random_);
    for (float& value : in.x) value *= magnitude;
    in.norm_weight.clear();
    const CudaWeight weight = Pack(in);
    const std::vector<float> expected = Expected(in);
    for (const int32_t sampled : {0, 3}) {
      ExpectNear(Run(in, weight, 0, 3, sampled), expected, RoundedBound(in.op, GetParam()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CudaMatMulTest,
                         testing::Values(ElementType::kFloat32, ElementType::kFloat16,
                                         ElementType::kBFloat16),
                         [](const testing::TestParamInfo<ElementType>& info) {
                           return info.param == ElementType::kFloat32   ? "float32"
                                  : info.param == ElementType::kFloat16 ? "float16"
                                                                        : "bfloat16";
                         });

TEST(CudaMatMul, RememberTheFirstError) {
  auto matmul = CudaMatMul::Make(nullptr, kMaxRows);
  ASSERT_TRUE(matmul.ok()) << matmul.status();
  std::mt19937 random(34);
  const Operands in(Operator::kMatMulAdd, ElementType::kFloat32, 8, 32, 16, random);
  const auto weight = matmul->Pack(in.Tensors());
  ASSERT_TRUE(weight.ok()) << weight.status();
  const DeviceArray<float> x = ToDevice(in.x), y = ToDevice(in.y);
  const MatrixView<const float> from(x.data(), 8, 32);
  matmul->MatMulAdd(from, *weight, /*sampled_rows=*/0, {y.data(), 8, 16, /*stride=*/12});
  EXPECT_EQ(matmul->status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(matmul->status().message(), testing::HasSubstr("cuBLASLt"));
  const absl::Status first = matmul->status();
  matmul->MatMulAdd(from, *weight, /*sampled_rows=*/8, {y.data(), 8, 16});
  EXPECT_EQ(matmul->status(), first);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

}  // namespace
}  // namespace retnet::cuda
