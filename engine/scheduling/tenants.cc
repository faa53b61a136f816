#include "engine/scheduling/tenants.h"

#include <algorithm>
#include <limits>

#include "kernels/dcheck.h"

namespace retnet {

Tenants::Entry* Tenants::Join(const Tenant& tenant) {
  std::unique_ptr<Entry>& entry = entries_[{tenant.principal, tenant.connection}];
  if (entry == nullptr) {
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [key, other] : entries_) {
      if (other != nullptr) least = std::min(least, other->virtual_seconds);
    }
    entry = std::make_unique<Entry>();
    entry->tenant = tenant;
    entry->virtual_seconds = entries_.size() == 1 ? 0.0 : least;
    Principal& principal = principals_[tenant.principal];
    if (principal.connections++ == 0) {
      principal.weight = tenant.weight;
      weight_ += principal.weight;
    }
  }
  ++entry->sequences;
  return entry.get();
}

void Tenants::Leave(Entry* entry) {
  RETNET_DCHECK(entry->sequences > 0);
  if (--entry->sequences > 0) return;
  const auto principal = principals_.find(entry->tenant.principal);
  if (--principal->second.connections == 0) {
    weight_ -= principal->second.weight;
    principals_.erase(principal);
    if (principals_.empty()) weight_ = 0.0;  // what rounding has left
  }
  entries_.erase(Key{entry->tenant.principal, entry->tenant.connection});
}

Tenants::Entry* Tenants::Find(const Tenant& tenant) {
  const auto entry = entries_.find(Key{tenant.principal, tenant.connection});
  return entry == entries_.end() ? nullptr : entry->second.get();
}

double Tenants::WeightOf(const Entry& entry) const {
  const Principal& principal = principals_.find(entry.tenant.principal)->second;
  return principal.weight / principal.connections;
}

}  // namespace retnet
