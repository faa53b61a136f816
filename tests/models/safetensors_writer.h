// Makes safetensors files for tests: valid ones, or any header with any bytes.
#ifndef RETNET_TESTS_MODELS_SAFETENSORS_WRITER_H_
#define RETNET_TESTS_MODELS_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace retnet {

struct TensorHeader {
  std::string name;
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> shape;

  int64_t Elements() const;
};

struct TensorToWrite : TensorHeader {
  std::string bytes;
};

// The text of the header of a file that holds the tensors in this order.
std::string SafetensorsHeader(const std::vector<TensorHeader>& tensors);

// The file that holds the tensors in this order.
std::string SafetensorsBytes(const std::vector<TensorToWrite>& tensors);
// A file of any header text over any data.
std::string SafetensorsBytes(std::string_view header, std::string_view data);

void WriteFile(const std::string& path, std::string_view bytes);

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_SAFETENSORS_WRITER_H_
