#include "client/bench/report/plot.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace retnet {
namespace {

// Pixels around the area of the data.
constexpr int kEdge = 4;  // where titles begin
constexpr int kLeft = 62;
constexpr int kRight = 34;
constexpr int kTop = 54;  // with title and legend
constexpr int kBottom = 44;
constexpr double kLetter = 6.4;   // width of one in a label, about
constexpr double kTickRoom = 22;  // least pixels between texts of two ticks of the x axis

class Painter {
 public:
  explicit Painter(const Plot& plot) : plot_(plot) {}

  std::string Paint() {
    absl::StrAppendFormat(&svg_,
                          "<svg role=\"img\" viewBox=\"0 0 %d %d\" aria-labelledby=\"%s-title "
                          "%s-description\">\n<title id=\"%s-title\">%s</title>\n"
                          "<desc id=\"%s-description\">%s</desc>\n",
                          plot_.width, plot_.height, plot_.id, plot_.id, plot_.id,
                          Escaped(plot_.title), plot_.id, Escaped(plot_.description));
    Text(kEdge, 18, "plot-title", plot_.title);
    if (plot_.series.size() > 1) Legend();
    Axes();
    for (const PlotSeries& series : plot_.series) Curve(series);
    for (const PlotSeries& series : plot_.series) Dots(series);
    for (const PlotSeries& series : plot_.series) Labels(series);
    return absl::StrCat(svg_, "</svg>\n");
  }

 private:
  double right() const { return plot_.width - kRight; }
  double bottom() const { return plot_.height - kBottom; }
  double X(double value) const { return kLeft + plot_.x.Place(value) * (right() - kLeft); }
  double Y(double value) const { return bottom() - plot_.y.Place(value) * (bottom() - kTop); }

  void Text(double x, double y, const std::string& style, const std::string& text) {
    absl::StrAppendFormat(&svg_, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y,
                          style, Escaped(text));
  }

  void Legend() {
    double x = kEdge;
    for (const PlotSeries& series : plot_.series) {
      const char* kind = series.shape == PlotSeries::Shape::kArea     ? "area"
                         : series.shape == PlotSeries::Shape::kDashed ? "line dashed"
                                                                      : "line";
      absl::StrAppendFormat(&svg_, "<path class=\"%s hue%d\" d=\"M%.1f 36h18%s\"/>\n", kind,
                            series.hue, x,
                            series.shape == PlotSeries::Shape::kArea ? "v-8h-18z" : "");
      Text(x + 24, 40, "label", series.name);
      x += 24 + kLetter * static_cast<double>(series.name.size()) + 18;
    }
  }

  void Axes() {
    for (const auto& [value, text] : plot_.y.ticks()) {
      absl::StrAppendFormat(&svg_, "<path class=\"grid\" d=\"M%d %.1fH%.1f\"/>\n", kLeft, Y(value),
                            right());
      Text(kLeft - 8, Y(value) + 4, "tick end", text);
    }
    double taken = 0;  // pixels, by the text before
    for (const auto& [value, text] : plot_.x.ticks()) {
      const double half = kLetter * static_cast<double>(text.size()) / 2;
      absl::StrAppendFormat(&svg_, "<path class=\"grid\" d=\"M%.1f %dV%.1f\"/>\n", X(value), kTop,
                            bottom());
      if (X(value) - half < taken) continue;
      Text(X(value), bottom() + 18, "tick middle", text);
      taken = X(value) + half + kTickRoom - kLetter * 2;
    }
    absl::StrAppendFormat(&svg_, "<path class=\"axis\" d=\"M%d %.1fH%.1f\"/>\n", kLeft, bottom(),
                          right());
    Text((kLeft + right()) / 2, plot_.height - 8, "axis-title middle", plot_.x.title());
    const double middle = (kTop + bottom()) / 2;
    absl::StrAppendFormat(&svg_,
                          "<text transform=\"translate(14 %.1f) rotate(-90)\" "
                          "class=\"axis-title middle\">%s</text>\n",
                          middle, Escaped(plot_.y.title()));
  }

  void Curve(const PlotSeries& series) {
    if (series.points.empty()) return;
    std::string path;
    for (const PlotPoint& point : series.points) {
      absl::StrAppendFormat(&path, "%s%.1f %.1f", path.empty() ? "M" : "L", X(point.x), Y(point.y));
    }
    if (series.shape == PlotSeries::Shape::kArea) {
      absl::StrAppendFormat(&path, "L%.1f %.1fL%.1f %.1fz", X(series.points.back().x), bottom(),
                            X(series.points.front().x), bottom());
      absl::StrAppendFormat(&svg_, "<path class=\"area hue%d\" d=\"%s\"/>\n", series.hue, path);
      return;
    }
    absl::StrAppendFormat(&svg_, "<path class=\"line%s hue%d\" d=\"%s\"/>\n",
                          series.shape == PlotSeries::Shape::kDashed ? " dashed" : "", series.hue,
                          path);
  }

  void Dots(const PlotSeries& series) {
    for (const PlotPoint& point : series.points) {
      if (point.hint.empty()) continue;
      absl::StrAppendFormat(&svg_,
                            "<circle class=\"dot hue%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\">"
                            "<title>%s</title></circle>\n",
                            series.hue, X(point.x), Y(point.y), Escaped(point.hint));
      taken_.push_back({X(point.x) - 4, Y(point.y) - 4, X(point.x) + 4, Y(point.y) + 4});
    }
  }

  void Labels(const PlotSeries& series) {
    for (const PlotPoint& point : series.points) {
      if (!point.label.empty()) Label(X(point.x), Y(point.y), point.label);
    }
  }

  // Beside the dot where nothing else is; to its right if something is everywhere.
  void Label(double x, double y, const std::string& text) {
    const double width = kLetter * static_cast<double>(text.size());
    Box chosen = {};
    bool found = false;
    for (const auto& [left, middle] :
         {std::pair(x + 8, y + 10), std::pair(x + 8, y), std::pair(x - 8 - width, y),
          std::pair(x + 8, y - 10), std::pair(x - 8 - width, y - 10),
          std::pair(x - width / 2, y - 14)}) {
      const Box box = {left, middle - 6, left + width, middle + 6};
      if (box.right > plot_.width || !IsFree(box)) continue;
      chosen = box;
      found = true;
      break;
    }
    if (!found) chosen = {x + 8, y - 6, x + 8 + width, y + 6};
    taken_.push_back(chosen);
    Text(chosen.left, chosen.bottom - 2, "label", text);
  }

  struct Box {
    double left, top, right, bottom;
  };
  bool IsFree(const Box& box) const {
    return std::none_of(taken_.begin(), taken_.end(), [&box](const Box& other) {
      return box.left < other.right && other.left < box.right && box.top < other.bottom &&
             other.top < box.bottom;
    });
  }

  const Plot& plot_;
  std::string svg_;
  std::vector<Box> taken_;  // by dots and labels
};

}  // namespace

std::string Svg(const Plot& plot) { return Painter(plot).Paint(); }

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

}  // namespace retnet
