// A plot of a report read back from its SVG, as its reader sees it: curves in pixels, and the ticks
// that say which values the pixels are.
#ifndef RETNET_TESTS_CLIENT_BENCH_REPORT_DRAWN_PLOT_H_
#define RETNET_TESTS_CLIENT_BENCH_REPORT_DRAWN_PLOT_H_

#include <cmath>
#include <cstdio>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace retnet {

class DrawnPlot {
 public:
  struct Point {
    double x;
    double y;  // pixels from the top
  };
  using Curve = std::vector<Point>;

  // The plot of that title on the page; a failure of the test where there is none.
  DrawnPlot(const std::string& html, const std::string& title) {
    const size_t found = html.find("class=\"plot-title\">" + title + "</text>");
    EXPECT_NE(found, std::string::npos) << title;
    if (found == std::string::npos) return;
    const size_t begin = html.rfind("<svg", found);
    svg_ = html.substr(begin, html.find("</svg>", found) - begin);
    x_ticks_ = Ticks("tick middle", /*index=*/1, /*offset=*/0);
    y_ticks_ = Ticks("tick end", /*index=*/2, /*offset=*/4);  // texts stand below their lines
    EXPECT_GE(x_ticks_.size(), 2) << title;
    EXPECT_GE(y_ticks_.size(), 2) << title;
  }

  bool there() const { return x_ticks_.size() >= 2 && y_ticks_.size() >= 2; }

  // The one curve of that style ("line hue1"); empty where there is none. That of an area is its
  // upper edge.
  Curve CurveOf(const std::string& style) const {
    std::vector<Curve> curves;
    for (const std::smatch& match : All("<path class=\"" + style + "\" d=\"(M[^\"hHV]*)\"/>")) {
      Curve curve;
      const std::string path = match[1];
      for (size_t at = path.find_first_of("ML"); at != std::string::npos;
           at = path.find_first_of("ML", at + 1)) {
        Point point;
        EXPECT_EQ(std::sscanf(path.c_str() + at + 1, "%lf %lf", &point.x, &point.y), 2) << path;
        curve.push_back(point);
      }
      if (path.back() == 'z') curve.resize(curve.size() - 2);  // back along the axis
      curves.push_back(curve);
    }
    EXPECT_EQ(curves.size(), 1) << style;
    return curves.empty() ? Curve() : curves[0];
  }
  // The texts at dots.
  std::vector<std::string> Labels() const {
    std::vector<std::string> labels;
    for (const std::smatch& match : All("class=\"label\">([^<]*)</text>")) {
      labels.push_back(match[1]);
    }
    return labels;
  }

  // Where a value is drawn. On an axis that does not begin at 0 values are logarithms.
  double X(double value) const { return Place(x_ticks_, value); }
  double Y(double value) const { return Place(y_ticks_, value); }
  double least_x() const { return x_ticks_.front().first; }
  // Under a curve on axes that begin at 0, in the axes' units.
  double Area(const Curve& curve) const {
    double pixels = 0;
    for (size_t i = 1; i < curve.size(); ++i) {
      pixels += (curve[i].x - curve[i - 1].x) * (Y(0) - (curve[i].y + curve[i - 1].y) / 2);
    }
    return pixels / (X(1) - X(0)) / (Y(0) - Y(1));
  }

 private:
  using Tick = std::pair<double, double>;  // value, pixel

  // Of the svg, which lives as long as the matches.
  std::vector<std::smatch> All(const std::string& pattern) const {
    const std::regex regex(pattern);
    return {std::sregex_iterator(svg_.begin(), svg_.end(), regex), std::sregex_iterator()};
  }

  // Ascending by value. `index`: whether x (1) or y (2) says their place.
  std::vector<Tick> Ticks(const std::string& style, int index, double offset) const {
    std::vector<Tick> ticks;
    for (const std::smatch& match :
         All("<text x=\"([0-9.]+)\" y=\"([0-9.]+)\" class=\"" + style + "\">([0-9.,]+)</text>")) {
      const std::string text = std::regex_replace(std::string(match[3]), std::regex(","), "");
      ticks.emplace_back(std::stod(text), std::stod(match[index]) - offset);
    }
    return ticks;
  }

  static double Place(const std::vector<Tick>& ticks, double value) {
    const auto scaled = [&](double x) { return ticks.front().first == 0 ? x : std::log(x); };
    const double first = scaled(ticks.front().first), last = scaled(ticks.back().first);
    const double share = (scaled(value) - first) / (last - first);
    return ticks.front().second + share * (ticks.back().second - ticks.front().second);
  }

  std::string svg_;
  std::vector<Tick> x_ticks_;
  std::vector<Tick> y_ticks_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_CLIENT_BENCH_REPORT_DRAWN_PLOT_H_
