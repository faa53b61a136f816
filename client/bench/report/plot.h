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
  std::string label = "";  // beside its dot; "": no label
  std::string hint = "";   // shown where a pointer rests on its dot; "": no dot
};

struct PlotSeries {
  enum class Shape { kLine, kDashed, kArea };
  std::string name;
  int hue = 1;  // 1 to 3, of the style sheet
  Shape shape = Shape::kLine;
  std::vector<PlotPoint> points;  // by ascending x where it is an area
};

struct Plot {
  std::string id;  // of its elements; unique on the page
  std::string title;
  std::string description;  // what is to be seen, for those who do not see it
  int width = 480;          // pixels at its natural size
  int height = 270;
  PlotAxis x;
  PlotAxis y;
  std::vector<PlotSeries> series;  // later ones over earlier ones; more than one: with a legend
};

std::string Svg(const Plot& plot);

// For text in elements and attributes, of XML and HTML.
std::string Escaped(const std::string& text);

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_PLOT_H_
