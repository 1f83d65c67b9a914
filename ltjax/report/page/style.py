"""The style sheet of the page. Colours: Okabe and Ito (2008), lighter on a dark page; groups differ in shape, too."""

CSS = """
:root { color-scheme: light dark; --page: #ffffff; --panel: #f5f6f8; --ink: #22262b; --muted: #646b75;
  --rule: #d9dce1;
  --grid: #e6e8ec; --blue: #0072b2; --green: #007a58; --vermilion: #c44f00; --purple: #a9518a; --yellow: #b07d00;
  --sky: #2b8fc6; --heat: #0072b2; --on-heat: #ffffff; --halo: #ffffffd0 }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --panel: #1d2127; --ink: #e4e7eb; --muted: #9ba3ae;
  --rule: #363c45; --grid: #2a2f37; --blue: #62b6ea; --green: #2fc79d; --vermilion: #ff9248; --purple: #e39cc8;
  --yellow: #eab83e; --sky: #8fd0f5; --heat: #62b6ea; --on-heat: #0b0d10; --halo: #14171bd0 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1160px; padding: 0 20px 60px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 28px 0 4px }
h2 { font-size: 1.2rem; margin: 44px 0 8px; padding-top: 10px; border-top: 1px solid var(--rule) }
h3 { font-size: 1rem; margin: 22px 0 8px }
p { margin: 8px 0; max-width: 76ch }
nav { font-size: .9rem; margin: 10px 0 22px }
nav a { margin-right: 14px; white-space: nowrap }
a { color: var(--blue) }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px }
.note, .missing, small { color: var(--muted) }
.missing { font-style: italic }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 10px; margin: 16px 0 }
.tile { background: var(--panel); border-radius: 8px; padding: 10px 14px; border-left: 4px solid var(--rule) }
.tile b { display: block; font-size: 1.45rem; line-height: 1.3; font-variant-numeric: tabular-nums }
.tile b small { font-size: .9rem; font-weight: 400; white-space: nowrap }
.tile span { display: block; font-size: .82rem; color: var(--muted) }
.tile small { font-size: .8rem }
.scroll { overflow-x: auto; max-width: 100% }
table { border-collapse: collapse; font-size: .9rem; margin: 10px 0; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: 4px 0 }
th, td { padding: 5px 12px 5px 0; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: top;
  overflow-wrap: break-word }
table.conditions td { overflow-wrap: anywhere }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; min-width: 62px; overflow-wrap: normal }
th:first-child { text-align: left }
tbody th { font-weight: 500; min-width: 120px }
table.classes td:last-child, table.classes th:last-child { text-align: left; min-width: 260px }
table.pairs td:nth-child(2), table.pairs th:nth-child(2) { text-align: left; min-width: 130px }
table.conditions td { text-align: left }
table.conditions tbody th { white-space: normal; color: var(--muted); min-width: 130px; width: 190px }
.many { color: var(--blue) } .medium { color: var(--green) } .few { color: var(--vermilion) }
figure { margin: 12px 0 }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 10px 26px }
.grid > figure { max-width: 640px }
.grid.small { grid-template-columns: repeat(auto-fit, minmax(min(100%, 230px), 1fr)) }
svg { display: block; width: 100%; height: auto }
svg text { font-size: 12px; fill: var(--ink); font-family: inherit }
svg text.tick, svg text.label { fill: var(--muted) }
svg text.cell, svg text.on-heat { font-size: 11px } svg text.on-heat { fill: var(--on-heat) }
svg text.halo { paint-order: stroke; stroke: var(--halo); stroke-width: 4px; stroke-linejoin: round;
  font-weight: 600 }
.grid, .axis, .edge, .line, .error { fill: none }
svg .grid { stroke: var(--grid) } svg .axis { stroke: var(--muted) }
svg .leader { fill: none; stroke: var(--muted); stroke-width: .8 }
svg .edge { stroke: var(--muted); stroke-dasharray: 4 3; stroke-width: .9 }
svg .line { stroke: currentColor; stroke-width: 2; stroke-linejoin: round }
svg .line.faint { stroke-width: 1; opacity: .45 }
svg .error { stroke: currentColor; opacity: .55 } svg .tint { fill: currentColor; opacity: .1 }
svg .dots { fill: currentColor; fill-opacity: .82 } svg .bar { fill: currentColor } svg .bar.faint { opacity: .35 }
svg .heat { fill: var(--heat) } svg .back { fill: var(--panel) }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 18px; padding: 0; margin: 4px 0;
  font-size: .85rem }
ul.legend li { display: flex; align-items: center; gap: 6px } ul.legend svg { width: 24px; flex: none }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 16px 14px }
.card { margin: 0; font-size: .85rem; line-height: 1.35 }
.card img { width: 100%; max-width: 148px; border-radius: 4px; background: var(--panel); display: block;
  margin-bottom: 4px }
.card img.pixels { image-rendering: pixelated; max-width: 112px } .card small { font-size: .78rem }
.miss { color: var(--vermilion) } .hit { color: var(--green) }
details { margin: 12px 0 } summary { cursor: pointer; color: var(--blue) }
pre { background: var(--panel); padding: 12px; border-radius: 6px; font-size: .82rem; overflow-x: auto;
  overflow-wrap: normal }
@media print { details::details-content { content-visibility: visible; block-size: auto } }
"""
