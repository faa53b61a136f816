// The scale of one side of a plot.
#ifndef RETNET_CLIENT_BENCH_REPORT_PLOT_AXIS_H_
#define RETNET_CLIENT_BENCH_REPORT_PLOT_AXIS_H_

#include <string>
#include <utility>
#include <vector>

namespace retnet {

class PlotAxis {
 public:
  // From 0 to a round number from `greatest` on.
  static PlotAxis Linear(std::string title, double greatest);
  // Over round numbers around `least` and `greatest`, which are above 0.
  static PlotAxis Logarithmic(std::string title, double least, double greatest);
  // Logarithmic, with ticks at these values, which are above 0, alone.
  static PlotAxis At(std::string title, std::vector<double> values);
  // Exactly from 0 to `greatest`, with ticks at round numbers.
  static PlotAxis Span(std::string title, double greatest);
  // Logarithmic where the values differ by more than ten times and all are above 0, else linear.
  static PlotAxis Fitting(std::string title, const std::vector<double>& values);

  const std::string& title() const { return title_; }  // with its unit
  // 0 at the least value of the axis, 1 at its greatest; values beyond are at its ends.
  double Place(double value) const;
  // Values and their texts, ascending.
  const std::vector<std::pair<double, std::string>>& ticks() const { return ticks_; }

 private:
  // At the outermost ticks.
  void SetEnds();

  std::string title_;
  double least_ = 0;
  double greatest_ = 1;
  bool logarithmic_ = false;
  std::vector<std::pair<double, std::string>> ticks_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_PLOT_AXIS_H_
