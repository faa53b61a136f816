// What a backend's buffers hold.
#ifndef RETNET_TESTS_KERNELS_NUMBERS_ON_HOST_H_
#define RETNET_TESTS_KERNELS_NUMBERS_ON_HOST_H_

#include <cstdint>
#include <vector>

namespace retnet {

// The first numbers of a buffer, after Finish. A backend whose memory the host cannot read
// overloads it for its type.
template <typename K>
std::vector<float> NumbersOnHost(const K&, const float* data, int64_t size) {
  return {data, data + size};
}

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_NUMBERS_ON_HOST_H_
