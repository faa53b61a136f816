#include "models/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "models/json_reader.h"

namespace retnet {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;
// The limit of the reference implementation.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

constexpr std::array<std::pair<std::string_view, int64_t>, 15> kTypes = {{{"BOOL", 1},
                                                                          {"U8", 1},
                                                                          {"I8", 1},
                                                                          {"F8_E5M2", 1},
                                                                          {"F8_E4M3", 1},
                                                                          {"I16", 2},
                                                                          {"U16", 2},
                                                                          {"F16", 2},
                                                                          {"BF16", 2},
                                                                          {"I32", 4},
                                                                          {"U32", 4},
                                                                          {"F32", 4},
                                                                          {"I64", 8},
                                                                          {"U64", 8},
                                                                          {"F64", 8}}};

std::optional<int64_t> ElementBytes(std::string_view type) {
  for (const auto& [name, bytes] : kTypes) {
    if (name == type) return bytes;
  }
  return std::nullopt;
}

// Makes errors about one tensor.
struct Error {
  const std::string& file;
  const std::string& tensor;

  template <typename... Parts>
  absl::Status operator()(const Parts&... parts) const {
    return absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", tensor, ": ", parts...));
  }
};

// A list of integers of at least 0; nullopt for any other value.
std::optional<std::vector<int64_t>> Integers(const json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<int64_t> numbers;
  for (const json& element : value) {
    if (!element.is_number_unsigned() ||
        element.get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
      return std::nullopt;
    }
    numbers.push_back(element.get<int64_t>());
  }
  return numbers;
}

// element_bytes · Π shape; nullopt if that exceeds int64.
std::optional<int64_t> SizeInBytes(const std::vector<int64_t>& shape, int64_t element_bytes) {
  int64_t size = element_bytes;
  for (const int64_t side : shape) {
    if (__builtin_mul_overflow(size, side, &size)) return std::nullopt;
  }
  return size;
}

absl::StatusOr<StoredTensor> ParseTensor(const json& entry, std::span<const std::byte> data,
                                         const Error& error) {
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
      !entry.contains("shape") || !entry.contains("data_offsets")) {
    return error("its header entry must hold dtype, shape and data_offsets");
  }
  StoredTensor tensor;
  const json& type = entry["dtype"];
  const std::optional<int64_t> element_bytes =
      type.is_string() ? ElementBytes(type.get_ref<const std::string&>()) : std::nullopt;
  if (!element_bytes.has_value()) return error("dtype ", Describe(type), " is not known");
  tensor.type = type.get<std::string>();

  auto shape = Integers(entry["shape"]);
  if (!shape.has_value()) return error("shape is not a list of sizes");
  tensor.shape = *std::move(shape);
  const std::optional<int64_t> size = SizeInBytes(tensor.shape, *element_bytes);
  if (!size.has_value()) return error("shape is larger than any file");

  const auto offsets = Integers(entry["data_offsets"]);
  if (!offsets.has_value() || offsets->size() != 2) {
    return error("data_offsets is not a pair of offsets");
  }
  const auto [begin, end] = std::pair((*offsets)[0], (*offsets)[1]);
  if (begin > end || end > static_cast<int64_t>(data.size())) {
    return error("data_offsets [", begin, ", ", end, ") lie outside the file's ", data.size(),
                 " bytes of data");
  }
  if (end - begin != *size) {
    return error("data_offsets hold ", end - begin, " bytes, its dtype and shape need ", *size);
  }
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// Checks that every byte of `data` belongs to exactly one tensor.
absl::Status CheckTiling(const StoredTensors& tensors, std::span<const std::byte> data,
                         const std::string& file) {
  std::vector<std::pair<std::span<const std::byte>, const std::string*>> ranges;
  for (const auto& [name, tensor] : tensors) ranges.emplace_back(tensor.bytes, &name);
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.data(), a.first.size()) < std::pair(b.first.data(), b.first.size());
  });
  const std::byte* end = data.data();
  for (const auto& [bytes, name] : ranges) {
    const Error error{file, *name};
    if (bytes.data() < end) return error("its bytes overlap another tensor's");
    if (bytes.data() > end) {
      return error(bytes.data() - end, " bytes before it belong to no tensor");
    }
    end = bytes.data() + bytes.size();
  }
  const int64_t left = data.data() + data.size() - end;
  if (left == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": the last ", left, " bytes belong to no tensor"));
}

}  // namespace

absl::StatusOr<StoredTensors> ParseSafetensors(std::span<const std::byte> bytes,
                                               const std::string& file) {
  if (bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": truncated: ", bytes.size(), " bytes, the header's length takes 8"));
  }
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    header_bytes |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  }
  if (header_bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": a header of ", header_bytes, " bytes; supported: ", kMaxHeaderBytes));
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": truncated: a header of ", header_bytes,
                                                   " bytes in a file of ", bytes.size()));
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data() + kLengthBytes);
  ASSIGN_OR_RETURN(const json header, ParseJsonObject({text, header_bytes}, file));
  const auto data = bytes.subspan(kLengthBytes + header_bytes);
  StoredTensors tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    ASSIGN_OR_RETURN(StoredTensor tensor, ParseTensor(entry, data, Error{file, name}));
    tensors.emplace(name, std::move(tensor));
  }
  RETURN_IF_ERROR(CheckTiling(tensors, data, file));
  return tensors;
}

}  // namespace retnet
