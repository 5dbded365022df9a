"""The pages' inline style: light and dark by the reader's setting, and paper."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #16202b; --muted: #5b6673; --line: #dfe3e8; --soft: #eef1f4;
  --blue: #0072b2; --vermillion: #c95500; --green: #008a63; --orange: #d39100; --sky: #56b4e9; --purple: #b9649a;
  --grey: #7d8590; --yellow: #a89800; --accent: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1318; --card: #171d24; --ink: #e6ebf0; --muted: #9aa6b2; --line: #2b343e; --soft: #1f272f;
    --blue: #4ea8e0; --vermillion: #f0803c; --green: #2fbf95; --orange: #eeb33b; --sky: #8accf2; --purple: #dd9cc2;
    --grey: #98a1ab; --yellow: #d6c93a; --accent: #6dbaf0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans",
    Arial, sans-serif;
  font-size: 15px; font-variant-numeric: tabular-nums;
}
a { color: var(--accent); }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .5rem; }
main, header.top, footer { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header.top { padding-top: 36px; }
.brand { color: var(--muted); font-size: .8rem; letter-spacing: .09em; text-transform: uppercase; margin: 0 0 6px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.015em; overflow-wrap: anywhere; }
h1 .versus { color: var(--muted); font-weight: 400; }
.facts { color: var(--muted); margin: 0 0 16px; max-width: none; overflow-wrap: anywhere; }
.verdict { font-size: 1.07rem; max-width: 75ch; margin: 0 0 20px; }
nav.contents { font-size: .86rem; margin: 0 0 20px; display: flex; flex-wrap: wrap; gap: 4px 16px; }
nav.contents a { text-decoration: none; }
nav.contents a:hover { text-decoration: underline; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin: 0 0 22px; }
.card { background: var(--card); border: 1px solid var(--line); border-top: 4px solid var(--tone, var(--line));
  border-radius: 10px; padding: 14px 16px; }
.card .label { color: var(--muted); font-size: .82rem; }
.card .value { font-size: 1.95rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.25; }
.card .value small { font-size: 1rem; font-weight: 500; color: var(--muted); letter-spacing: 0; }
.card .under { color: var(--muted); font-size: .8rem; line-height: 1.4; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px 20px;
  margin: 0 0 18px; }
h2 { font-size: 1.15rem; margin: 0 0 4px; letter-spacing: -.005em; }
h3 { font-size: .95rem; margin: 18px 0 4px; }
p { margin: 0 0 10px; max-width: 80ch; }
.note { color: var(--muted); font-size: .88rem; }
.empty { color: var(--muted); font-style: italic; margin: 6px 0 0; }
.warning { border-left: 4px solid var(--orange); background: var(--soft); padding: 8px 12px; border-radius: 0 8px 8px 0;
  margin: 0 0 16px; max-width: none; }
figure { margin: 10px 0 0; overflow-x: auto; }
figcaption { color: var(--muted); font-size: .85rem; max-width: 90ch; margin-top: 6px; }
figure > svg { display: block; width: 100%; height: auto; min-width: 520px; margin: 0 auto; }
figure > svg * { stroke-linejoin: round; stroke-linecap: butt; }
.scroll { overflow: auto; max-height: 720px; border: 1px solid var(--line); border-radius: 8px; margin-top: 10px; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; }
th, td { text-align: left; padding: 5px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--soft); font-weight: 600; vertical-align: bottom; z-index: 1; }
thead th.number { white-space: normal; min-width: 5.2em; }
td .under { color: var(--muted); font-size: .9em; }
tbody tr:last-child > * { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { overflow-wrap: anywhere; min-width: 12ch; }
th[scope=row] { font-weight: 500; }
tr.attack td:first-child, tr.attack th:first-child { box-shadow: inset 3px 0 0 var(--vermillion); }
tr.changed th, tr.changed td { background: color-mix(in srgb, var(--accent) 8%, transparent); }
code, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .84rem; overflow-wrap: anywhere; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 9.5em; overflow: auto; }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; }
.badge { display: inline-block; font-size: .74rem; font-weight: 600; padding: 1px 8px; border-radius: 999px;
  background: var(--soft); border: 1px solid var(--line); color: var(--muted); white-space: nowrap; }
.badge.warn { border-color: var(--orange); color: var(--ink); }
.pictures { margin-top: 14px; }
.pictures h3 { margin: 0 0 6px; font-weight: 600; }
mark { background: color-mix(in srgb, var(--vermillion) 22%, transparent); color: inherit; border-radius: 3px;
  padding: 0 2px; }
.strip { display: flex; flex-wrap: wrap; gap: 8px; }
.strip figure { margin: 0; width: 80px; overflow: visible; }
.strip img { display: block; width: 80px; height: 80px; image-rendering: pixelated; border-radius: 6px;
  border: 1px solid var(--line); background: #000; object-fit: contain; }
.strip figcaption { font-size: .72rem; text-align: center; margin-top: 2px; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.strip.noted figure { width: 118px; text-align: center; }
.strip.noted img { margin: 0 auto; }
.strip.noted figcaption { white-space: normal; overflow: visible; }
.strip.noted .badge { white-space: normal; }
.strip.noted figure.text { width: min(100%, 260px); text-align: left; }
.strip.noted blockquote { margin: 0; padding: 6px 8px; font-size: .8rem; background: var(--soft); border-radius: 6px;
  border: 1px solid var(--line); overflow-wrap: anywhere; }
.heats { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 6px 22px; }
.heats.wide { grid-template-columns: minmax(0, 1fr); }
.heats > div { min-width: 0; }
.heats h4 { margin: 10px 0 0; font-size: .88rem; }
.heats h4 small { color: var(--muted); font-weight: 400; }
table.heat td { background: color-mix(in srgb, var(--tone) var(--mix), var(--card)); text-align: center;
  border-left: 1px solid var(--line); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
table.heat td b, table.heat td strong { font-size: 1.08em; }
table.heat td strong { outline: 2px solid currentColor; outline-offset: 2px; border-radius: 3px; }
table.heat td b { font-weight: 500; }
table.heat td .under { color: inherit; opacity: .85; font-size: .84em; white-space: nowrap; }
table.heat tbody th { vertical-align: middle; }
table.heat thead th { text-align: center; }
table.heat thead th:first-child { text-align: left; }
table.sites { width: auto; }
.scroll.fit { width: fit-content; max-width: 100%; }
table.sites th[scope=row] { position: sticky; left: 0; background: var(--card); white-space: nowrap; }
table.sites thead th:first-child { left: 0; z-index: 2; }
table.sites td { min-width: 5.3em; padding: 5px 6px; vertical-align: middle; }
table.sites .name { color: var(--muted); display: inline-block; max-width: 16ch; overflow: hidden;
  text-overflow: ellipsis; vertical-align: bottom; }
table.sites td.dropped, table.sites td.absent, table.sites td.excluded, table.sites td.refused { font-size: .92em;
  color: var(--muted); font-style: italic; }
table.sites td.dropped { color: var(--vermillion); font-style: normal; font-weight: 600; }
table.sites td.absent, table.sites td.excluded { background: repeating-linear-gradient(-45deg, var(--soft) 0 5px,
  var(--card) 5px 10px); }
h3 small { color: var(--muted); font-weight: 400; }
dl.legend { margin: 8px 0 14px; font-size: .82rem; }
.lines p { margin-bottom: 4px; }
footer { color: var(--muted); font-size: .82rem; padding-top: 4px; padding-bottom: 40px; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 4px 28px; }
dl { display: grid; grid-template-columns: minmax(110px, max-content) 1fr; gap: 3px 16px; margin: 8px 0 0;
  align-content: start; font-size: .88rem; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 640px) { h1 { font-size: 1.5rem; } section { padding: 14px; } main, header.top { padding: 0 12px; } }
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --muted: #444; --line: #ccc; --soft: #f2f2f2;
    --blue: #0072b2; --vermillion: #c95500; --green: #008a63; --orange: #d39100; --sky: #56b4e9; --purple: #b9649a;
    --grey: #7d8590; --yellow: #a89800; --accent: #0072b2; }
  body { font-size: 10.5pt; }
  main, header.top, footer { max-width: none; padding: 0; }
  nav.contents, .skip { display: none; }
  section { border: 0; padding: 8px 0; break-inside: auto; }
  figure, .card, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .scroll { max-height: none; overflow: visible; border: 0; }
  thead th { position: static; }
}
"""
