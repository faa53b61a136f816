#include "tests/models/safetensors_writer.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace retnet {
namespace {

const char* Name(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "F32";
    case ElementType::kFloat16:
      return "F16";
    case ElementType::kBFloat16:
      return "BF16";
  }
  return "";
}

}  // namespace

int64_t TensorHeader::Elements() const {
  int64_t elements = 1;
  for (const int64_t side : shape) elements *= side;
  return elements;
}

std::string SafetensorsHeader(const std::vector<TensorHeader>& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  int64_t begin = 0;
  for (const TensorHeader& tensor : tensors) {
    const int64_t end = begin + tensor.Elements() * static_cast<int64_t>(SizeOf(tensor.type));
    header[tensor.name] = {
        {"dtype", Name(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  return header.dump();
}

std::string SafetensorsBytes(const std::vector<TensorToWrite>& tensors) {
  std::string data;
  for (const TensorToWrite& tensor : tensors) data += tensor.bytes;
  return SafetensorsBytes(SafetensorsHeader({tensors.begin(), tensors.end()}), data);
}

std::string SafetensorsBytes(std::string_view header, std::string_view data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i)));
  bytes.append(header);
  bytes.append(data);
  return bytes;
}

void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), bytes.size());
}

}  // namespace retnet
