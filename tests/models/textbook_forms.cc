#include <cmath>
#include <functional>

#include "kernels/reference/reference_kernels.h"
#include "kernels/reference/retention_forms.h"
#include "tests/models/recording_model.h"
#include "tests/models/test_model.h"
#include "tests/sanitized.h"

namespace retnet {
namespace {

// The reference with one of the textbook's forms, for a single segment from position 0.
class FormKernels : public ReferenceKernels {
 public:
  using Form = std::function<std::vector<double>(const HeadTokens&)>;
  explicit FormKernels(Form form) : form_(std::move(form)) {}

  void Retention(int32_t /*layer*/, std::span<const RetentionSegment> segments,
                 MatrixView<const float> projections, const PositionTables& tables, Norm norm,
                 States& states, MatrixView<float> out) const {
    ASSERT_EQ(segments.size(), 1);
    ASSERT_EQ(segments[0][0].position, 0);
    for (int32_t h = 0; h < states.shape.heads; ++h) {
      const HeadTokens head = Head(h, projections, tables, states);
      std::vector<double> o = form_(head);
      if (!tables.decays.empty()) DivideByDecaySums(head, o);
      NormAndGate(o, h, projections, norm, states.shape, out);
    }
  }

 private:
  static HeadTokens Head(int32_t h, MatrixView<const float> projections,
                         const PositionTables& tables, const States& states) {
    const RetentionShape& shape = states.shape;
    const int32_t kv_head = h / (shape.heads / shape.kv_heads);
    HeadTokens head{.tokens = static_cast<int32_t>(projections.rows),
                    .key_dim = shape.key_dim,
                    .value_dim = shape.value_dim,
                    .decay = states.decay[h],
                    .q = {},
                    .k = {},
                    .v = {}};
    for (int64_t row = 0; row < projections.rows; ++row) {
      const float* q = projections.row(row);
      const float* k = q + int64_t{shape.heads} * shape.key_dim;
      const float* v = k + int64_t{shape.kv_heads} * shape.key_dim + kv_head * shape.value_dim;
      const double scale = 1 / std::sqrt(shape.key_dim);
      AppendRotated(q + h * shape.key_dim, scale, row, tables, head.q);
      AppendRotated(k + kv_head * shape.key_dim, 1.0, row, tables, head.k);
      head.v.insert(head.v.end(), v, v + shape.value_dim);
    }
    return head;
  }

  static void AppendRotated(const float* x, double scale, int64_t row, const PositionTables& tables,
                            std::vector<double>& to) {
    const int64_t pairs = tables.theta.size();
    const double* cosines = &tables.cosines[row * pairs];
    const double* sines = &tables.sines[row * pairs];
    for (int64_t i = 0; i < pairs; ++i) {
      to.push_back(scale * (x[i] * cosines[i] - x[i + pairs] * sines[i]));
    }
    for (int64_t i = 0; i < pairs; ++i) {
      to.push_back(scale * (x[i] * sines[i] + x[i + pairs] * cosines[i]));
    }
  }

  // o_n / sqrt(Σ_{j≤n} γ^j), as torchscale has it.
  static void DivideByDecaySums(const HeadTokens& head, std::vector<double>& o) {
    double sum = 0;
    double power = 1;
    for (int32_t n = 0; n < head.tokens; ++n, power *= head.decay) {
      sum += power;
      for (int32_t i = 0; i < head.value_dim; ++i) o[n * head.value_dim + i] /= std::sqrt(sum);
    }
  }

  static void NormAndGate(const std::vector<double>& o, int32_t h,
                          MatrixView<const float> projections, Norm norm,
                          const RetentionShape& shape, MatrixView<float> out) {
    for (int64_t row = 0; row < out.rows; ++row) {
      const double* from = &o[row * shape.value_dim];
      const float* gate = projections.row(row) + shape.ProjectionColumns() - shape.OutputColumns() +
                          h * shape.value_dim;
      double squares = 0;
      for (int32_t i = 0; i < shape.value_dim; ++i) squares += from[i] * from[i];
      const double scale = 1 / std::sqrt(squares / shape.value_dim + norm.epsilon);
      for (int32_t i = 0; i < shape.value_dim; ++i) {
        double value = from[i] * scale * (norm.weight != nullptr ? norm.weight[i] : 1.0);
        if (shape.gated) value *= gate[i] / (1 + std::exp(-double{gate[i]}));
        out.row(row)[h * shape.value_dim + i] = static_cast<float>(value);
      }
    }
  }

  Form form_;
};

Backend TextbookForm(const std::string& name, const FormKernels::Form& form) {
  return {.name = name,
          .whole_only = true,
          .make = [form](const std::string& directory, int32_t slots, int32_t max_rows) {
            return MakeTestModel(directory, std::make_unique<RecordingKernels<FormKernels>>(form),
                                 slots, max_rows);
          }};
}

}  // namespace

std::vector<Backend> TextbookForms() {
  // The ordinary build compares them; kernels_numbers_test runs the forms under sanitizers, too.
  if (kSanitized) return {};
  return {
      TextbookForm("parallel", ParallelRetention), TextbookForm("recurrent", RecurrentRetention),
      TextbookForm("chunkwise",
                   [](const HeadTokens& head) { return ChunkwiseRetention(head, /*chunk=*/48); })};
}

}  // namespace retnet
