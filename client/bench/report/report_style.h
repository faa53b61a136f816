// The style sheet of the report page. Light or dark, as the reader's system is.
#ifndef RETNET_CLIENT_BENCH_REPORT_REPORT_STYLE_H_
#define RETNET_CLIENT_BENCH_REPORT_REPORT_STYLE_H_

namespace retnet {

// Contains no character that needs escaping in XML.
inline constexpr char kReportStyle[] = R"(
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1b1f24; --quiet: #57606a; --edge: #d8dee4;
  --grid: #e8ebef; --hue1: #2160c4; --hue2: #b8500a; --hue3: #157a55;
  --soft1: #9dbff2; --soft2: #f0c299; --soft3: #a5d9c3; --bad: #b42318;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1318; --card: #181d24; --text: #e6e9ed; --quiet: #9aa4b0; --edge: #2d3540;
    --grid: #262d37; --hue1: #74a9ff; --hue2: #ffa35c; --hue3: #4fcf9f;
    --soft1: #2f5597; --soft2: #8a5527; --soft3: #22664c; --bad: #ff7a6b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 18px; margin: 34px 0 12px; }
h3 { font-size: 16px; margin: 24px 0 10px; }
p { margin: 6px 0; }
.quiet { color: var(--quiet); }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 14px 16px; overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(156px, 1fr)); gap: 12px;
  margin: 22px 0 0; }
.tile { padding: 12px 14px; font-size: 14px; }
.tile b { display: block; white-space: nowrap; font-size: 25px; line-height: 1.25; font-weight: 620;
  font-variant-numeric: tabular-nums; }
.tile small { font-size: 14px; font-weight: 400; color: var(--quiet); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 14px; }
.wide { display: grid; gap: 14px; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--text); font-size: 12px; }
svg .plot-title { font-size: 14.5px; font-weight: 620; }
svg .tick, svg .axis-title { fill: var(--quiet); }
svg .end { text-anchor: end; }
svg .middle { text-anchor: middle; }
svg .label { paint-order: stroke; stroke: var(--card); stroke-width: 3px;
  stroke-linejoin: round; }
.grid { stroke: var(--grid); fill: none; }
.axis { stroke: var(--quiet); fill: none; }
.line { fill: none; stroke-width: 2px; stroke-linejoin: round; }
.dashed { stroke-dasharray: 6 4; }
.line.hue1 { stroke: var(--hue1); } .line.hue2 { stroke: var(--hue2); }
.line.hue3 { stroke: var(--hue3); }
.area.hue1 { fill: var(--soft1); stroke: var(--hue1); }
.area.hue2 { fill: var(--soft2); stroke: var(--hue2); }
.area.hue3 { fill: var(--soft3); stroke: var(--hue3); }
.dot { stroke: var(--card); stroke-width: 1.5px; }
.dot.hue1 { fill: var(--hue1); } .dot.hue2 { fill: var(--hue2); } .dot.hue3 { fill: var(--hue3); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding: 0 0 6px; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { border-bottom: 1px solid var(--edge); color: var(--quiet); font-weight: 600; }
tbody th { font-weight: 500; }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
.bad { color: var(--bad); }
details { margin: 12px 0; }
summary { cursor: pointer; font-weight: 600; padding: 6px 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { color: var(--quiet); } dd { margin: 0; }
@media print { body { background: none; } .card { break-inside: avoid; } }
)";

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_REPORT_REPORT_STYLE_H_
