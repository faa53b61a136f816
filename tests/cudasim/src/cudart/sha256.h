#ifndef RETNET_TESTS_CUDASIM_SRC_CUDART_SHA256_H_
#define RETNET_TESTS_CUDASIM_SRC_CUDART_SHA256_H_

#include <cstddef>
#include <string>
namespace cudasim::rt {
std::string sha256_hex(const void* data, size_t size);
}

#endif  // RETNET_TESTS_CUDASIM_SRC_CUDART_SHA256_H_
