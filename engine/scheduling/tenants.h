// Who shares the engine now, and how much of it each may have.
#ifndef RETNET_ENGINE_SCHEDULING_TENANTS_H_
#define RETNET_ENGINE_SCHEDULING_TENANTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "engine/request.h"

namespace retnet {

// The tenants that have sequences. A tenant's weight is its principal's, divided by the number of
// the principal's connections that have sequences. Thread-compatible.
class Tenants {
 public:
  struct Entry {
    Tenant tenant;
    int32_t sequences = 0;  // joined and not left
    int32_t slots = 0;      // that its sequences have; the owner of the table counts them
    // Rows of the last prompt that got a slot; the owner of the table sets it. 0: none has.
    int32_t prompt_rows = 0;
    // Step time that it has had, over its weight (start-time fair queueing: Goyal, Vin and Cheng,
    // SIGCOMM 1996). A new tenant begins with the least that another one has.
    double virtual_seconds = 0.0;
  };

  // A sequence of the tenant begins. The entry is valid until as many have left.
  Entry* Join(const Tenant& tenant);
  void Leave(Entry* entry);
  // The tenant's; null without sequences.
  Entry* Find(const Tenant& tenant);

  double WeightOf(const Entry& entry) const;
  // The part of the whole that the tenant may have, 0 to 1.
  double ShareOf(const Entry& entry) const { return WeightOf(entry) / weight_; }
  double weight() const { return weight_; }  // of all principals
  void ForEach(absl::FunctionRef<void(const Entry&)> visit) const {
    for (const auto& [key, entry] : entries_) visit(*entry);
  }
  int32_t count() const { return static_cast<int32_t>(entries_.size()); }

 private:
  struct Principal {
    double weight = 1.0;
    int32_t connections = 0;
  };
  using Key = std::pair<std::string, std::string>;  // principal, connection

  absl::flat_hash_map<Key, std::unique_ptr<Entry>> entries_;
  absl::flat_hash_map<std::string, Principal> principals_;
  double weight_ = 0.0;  // of all principals
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SCHEDULING_TENANTS_H_
