#include "client/bench/report/plot_axis.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "client/bench/table.h"

namespace retnet {
namespace {

constexpr int kIntervals = 5;            // about so many between ticks
constexpr double kLogarithmicFrom = 10;  // the greatest over the least

std::string TickText(double value) {
  return std::abs(value) >= 1000 ? Figure(value) : absl::StrFormat("%g", value);
}

// 1, 2 or 5 times a power of ten.
double RoundStep(double greatest) {
  const double step = greatest / kIntervals;
  const double power = std::pow(10, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (step <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

}  // namespace

PlotAxis PlotAxis::Linear(std::string title, double greatest) {
  if (greatest <= 0) greatest = 1;
  const double step = RoundStep(greatest);
  return Span(std::move(title), std::ceil(greatest / step - 1e-9) * step);
}

PlotAxis PlotAxis::Span(std::string title, double greatest) {
  PlotAxis axis;
  axis.title_ = std::move(title);
  axis.greatest_ = greatest > 0 ? greatest : 1;
  const double step = RoundStep(axis.greatest_);
  for (int i = 0; i * step <= axis.greatest_ * (1 + 1e-9); ++i) {
    axis.ticks_.emplace_back(i * step, TickText(i * step));
  }
  return axis;
}

PlotAxis PlotAxis::Logarithmic(std::string title, double least, double greatest) {
  PlotAxis axis;
  axis.title_ = std::move(title);
  axis.logarithmic_ = true;
  // All of 1, 2, 5 over few decades, else the decades alone.
  const double decades = std::log10(greatest / least);
  std::vector<double> factors = {1, 2, 5};
  if (decades > 3) factors = {1};
  std::vector<double> candidates;
  const int first = static_cast<int>(std::floor(std::log10(least)));
  const int last = static_cast<int>(std::ceil(std::log10(greatest)));
  for (int power = first; power <= last; ++power) {
    for (const double factor : factors) candidates.push_back(factor * std::pow(10, power));
  }
  const double slack = 1 + 1e-9;
  auto begin = std::upper_bound(candidates.begin(), candidates.end(), least * slack);
  if (begin != candidates.begin()) --begin;
  const auto end = std::lower_bound(candidates.begin(), candidates.end(), greatest / slack);
  for (auto tick = begin; tick != candidates.end() && tick <= end; ++tick) {
    axis.ticks_.emplace_back(*tick, TickText(*tick));
  }
  axis.SetEnds();
  return axis;
}

PlotAxis PlotAxis::At(std::string title, std::vector<double> values) {
  PlotAxis axis;
  axis.title_ = std::move(title);
  axis.logarithmic_ = true;
  std::sort(values.begin(), values.end());
  for (const double value : values) axis.ticks_.emplace_back(value, TickText(value));
  if (axis.ticks_.empty()) axis.ticks_.emplace_back(1, "1");
  axis.SetEnds();
  return axis;
}

void PlotAxis::SetEnds() {
  least_ = ticks_.front().first;
  greatest_ = std::max(ticks_.back().first, least_ * 2);
}

PlotAxis PlotAxis::Fitting(std::string title, const std::vector<double>& values) {
  if (values.empty()) return Linear(std::move(title), 1);
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  if (*least > 0 && *greatest > kLogarithmicFrom * *least) {
    return Logarithmic(std::move(title), *least, *greatest);
  }
  return Linear(std::move(title), *greatest);
}

double PlotAxis::Place(double value) const {
  const double place =
      logarithmic_ ? std::log(std::max(value, least_) / least_) / std::log(greatest_ / least_)
                   : (value - least_) / (greatest_ - least_);
  return std::clamp(place, 0.0, 1.0);
}

}  // namespace retnet
