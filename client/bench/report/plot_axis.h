// The scale of one side of a plot.
#ifndef RETNET_CLIENT_BENCH_REPORT_PLOT_AXIS_H_
#define RETNET_CLIENT_BENCH_REPORT_PLOT_AXIS_H_

#include <string>
#include <utility>
#include <vector>

namespace retnet {

class PlotAxis {
 public:
  // From 0 to the next round number at or above `greatest`.
  static PlotAxis Linear(std::string title, double greatest);
  // Between round numbers around `least` and `greatest`, which must be above 0.
  static PlotAxis Logarithmic(std::string title, double least, double greatest);
  // Logarithmic, with ticks only at these values, which must be above 0.
  static PlotAxis At(std::string title, std::vector<double> values);
  // Exactly from 0 to `greatest`, with ticks at round numbers.
  static PlotAxis Span(std::string title, double greatest);
  // Logarithmic if all values are above 0 and the greatest is more than ten times the least. Linear
  // otherwise.
  static PlotAxis Fitting(std::string title, const std::vector<double>& values);

  const std::string& title() const { return title_; }  // with its unit
  // The position of a value: 0 at the least value of the axis, 1 at the greatest. Clamped.
  double Place(double value) const;
  // Values and their texts, ascending.
  const std::vector<std::pair<double, std::string>>& ticks() const { return ticks_; }

 private:
  // Sets the ends of the axis to the outermost ticks.
  void SetEnds();

  std::string title_;
  double least_ = 0;
  double greatest_ = 1;
  bool logarithmic_ = false;
  std::vector<std::pair<double, std::string>> ticks_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_PLOT_AXIS_H_
