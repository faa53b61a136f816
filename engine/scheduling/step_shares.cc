#include "engine/scheduling/step_shares.h"

#include <algorithm>
#include <limits>

namespace retnet {
namespace {

// Divides `total` by share; what one does not want goes to the others.
std::vector<double> MaxMinFair(std::span<const double> wanted, std::span<const TenantRows> tenants,
                               double total) {
  std::vector<double> given(wanted.size(), 0.0);
  std::vector<bool> satisfied(wanted.size(), false);
  while (true) {
    double shares = 0.0;
    for (size_t i = 0; i < wanted.size(); ++i) shares += satisfied[i] ? 0.0 : tenants[i].share;
    bool changed = false;
    const double level = total / shares;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (satisfied[i]) continue;
      given[i] = level * tenants[i].share;
      if (wanted[i] > given[i]) continue;
      given[i] = wanted[i];
      satisfied[i] = changed = true;
      total -= wanted[i];
    }
    if (!changed || std::all_of(satisfied.begin(), satisfied.end(), [](bool s) { return s; })) {
      return given;
    }
  }
}

// As many of the wanted rows as fit into what is given, decoding ones first; at least 1.
TenantRows RowsFor(const TenantRows& wanted, double given, double decoding_row, double prompt_row) {
  const auto fitting = [](int32_t rows, double room, double row) {
    if (row * rows <= room) return rows;
    return static_cast<int32_t>(std::max(room, 0.0) / row);
  };
  TenantRows rows = wanted;
  rows.decoding = fitting(wanted.decoding, given, decoding_row);
  rows.prompt = rows.decoding < wanted.decoding
                    ? 0
                    : fitting(wanted.prompt, given - decoding_row * rows.decoding, prompt_row);
  if (rows.decoding + rows.prompt == 0) {
    rows.decoding = std::min(wanted.decoding, 1);
    rows.prompt = std::min(wanted.prompt, 1 - rows.decoding);
  }
  return rows;
}

}  // namespace

std::vector<TenantRows> ShareStep(std::span<const TenantRows> wanted, int32_t max_rows,
                                  const StepCost::Times& times) {
  std::vector<TenantRows> given(wanted.begin(), wanted.end());
  for (TenantRows& rows : given) {
    rows.decoding = std::min(rows.decoding, max_rows);
    rows.prompt = std::min(rows.prompt, max_rows);
  }
  const auto time_of = [&times](const TenantRows& rows) {
    return times.decoding_row * rows.decoding + times.prompt_row * rows.prompt;
  };
  double limit = std::numeric_limits<double>::infinity();
  std::vector<double> wanted_of(given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    wanted_of[i] = time_of(given[i]);
    limit = std::min(limit, (times.step + wanted_of[i]) / given[i].share);
  }
  std::vector<double> given_of = MaxMinFair(wanted_of, given, limit - times.step);
  for (size_t i = 0; i < given.size(); ++i) {
    given[i] = RowsFor(given[i], given_of[i] * (1 + 1e-9), times.decoding_row, times.prompt_row);
    wanted_of[i] = given[i].decoding + given[i].prompt;
  }
  given_of = MaxMinFair(wanted_of, given, max_rows);
  for (size_t i = 0; i < given.size(); ++i) given[i] = RowsFor(given[i], given_of[i] + 1e-6, 1, 1);
  return given;
}

}  // namespace retnet
