// Touches a guarded member without its lock, on purpose: scripts/lint.sh fails unless clang refuses
// this file. No target builds it.
#include "kernels/mutex.h"

namespace retnet {

class Unguarded {
 public:
  void Add() { ++count_; }

 private:
  Mutex mu_;
  int count_ ABSL_GUARDED_BY(mu_) = 0;
};

void AddOnce() {
  Unguarded unguarded;
  unguarded.Add();
}

}  // namespace retnet
