// One plot as inline SVG, coloured by the page's style sheet.
#ifndef RETNET_CLIENT_BENCH_REPORT_PLOT_H_
#define RETNET_CLIENT_BENCH_REPORT_PLOT_H_

#include <string>
#include <vector>

#include "client/bench/report/plot_axis.h"

namespace retnet {

struct PlotPoint {
  double x = 0;
  double y = 0;
  std::string label = "";  // text next to the dot; empty: no label
  std::string hint = "";   // tooltip of the dot; empty: no dot
};

struct PlotSeries {
  enum class Shape { kLine, kDashed, kArea };
  std::string name;
  int hue = 1;  // 1 to 3: a colour of the style sheet
  Shape shape = Shape::kLine;
  std::vector<PlotPoint> points;  // for kArea in order of x
};

struct Plot {
  std::string id;  // prefix of element ids; unique on the page
  std::string title;
  std::string description;  // for screen readers
  int width = 480;          // pixels
  int height = 270;
  PlotAxis x;
  PlotAxis y;
  std::vector<PlotSeries> series;  // drawn in order; more than one gets a legend
};

std::string Svg(const Plot& plot);

// Escapes text for elements and attributes of XML and HTML.
std::string Escaped(const std::string& text);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_PLOT_H_
